"""Plan: a config as functions and shapes, from which data, model, optimizer and state are made."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dlrun.blocks.tasks import LossPart, Task
from dlrun.config.data_paths import moved_data
from dlrun.config.keys import AVERAGED, Choice, Config
from dlrun.config.registry import KINDS, Parts
from dlrun.data.examples import EVALUATION_BATCH, NO_VALID, Data, Examples
from dlrun.data.loaded import Loaded
from dlrun.data.preparation import Preparation
from dlrun.errors import UserError, in_words, note_part, own_place
from dlrun.system import machine
from dlrun.system.processes import started_here, started_together
from dlrun.system.progress import Progress, no_progress
from dlrun.training import fast_paths
from dlrun.training.averaging import AVERAGE, AveragedWeights
from dlrun.training.best import said_best
from dlrun.training.copies import Apart, Copies, Stacked
from dlrun.training.hardware import Hardware, choose_threads
from dlrun.training.kept_epochs import Keeping
from dlrun.training.layers import Layers
from dlrun.training.memory_format import put_channels_last
from dlrun.training.optimizers import OptimizerPart, Optimizers
from dlrun.training.pieces import Pieces
from dlrun.training.recipe import Recipe
from dlrun.training.state import State

CLASS_WEIGHT = "loss.class_weight"


@dataclass(frozen=True)
class Plan:
    """A config as functions and shapes, from which data, model, optimizer and state are made.

    The path of its data is absolute. Nothing has been downloaded, read, built or trained yet.
    """

    config: Config
    parts: Parts
    data: Data
    task: Task
    loss: LossPart
    optimizer: OptimizerPart
    build: Callable[[], nn.Module]
    layers: Layers
    recipe: Recipe
    device: torch.device
    better: dict[str, str]  # figure -> "higher" or "lower"
    plots: list[Choice]  # those of the config, `auto` replaced by the plots that suit
    data_dir: Path

    def load(
        self,
        preprocessing: Preparation | None = None,
        progress: Progress = no_progress,
        given: Mapping[str, Examples] | None = None,
    ) -> Loaded:
        """The examples, on the device, as `PlannedData.load` gives them."""
        planned = PlannedData(self.config, self.parts, self.data, self.task, self.device)
        loaded = planned.load(preprocessing, progress, given)
        self.settle(loaded)
        return loaded

    def settle(self, loaded: Loaded) -> None:
        """Balance the weights of the classes in the loss over the training split, unless they are known.

        Raises ConfigError for a class without training examples.
        """
        weights = self.loss.class_weights
        if weights is None or weights.values is not None:
            return
        try:
            weights.balance(self.task.class_counts(loaded["train"]).tolist())
        except UserError as error:
            raise self.config.refuse([self.config.mistake(CLASS_WEIGHT, error.what, error.fix)]) from error
        self.data.findings.append(f"weights of the classes in the loss, balanced: {weights}")

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights and of prepared inputs."""
        return _dtype_of(self.config)

    def hardware(self, loaded: Loaded | None = None, before: Mapping[str, object] | None = None) -> Hardware:
        """The hardware to train on; `loaded` gives the size of a full batch, which sets the threads.

        A run that was trained in the environment `before` keeps its threads, where the config leaves them to
        dlrun and there are as many cores: another number would change the last bits.
        """
        config, threads = self.config, self.threads(len(loaded["train"]) if loaded else EVALUATION_BATCH)
        if config.threads == "auto" and before:
            threads = _threads_of(before) or threads
        return Hardware(
            self.device,
            threads,
            config.precision,
            config.compile,
            config.gradient_clip,
            config.gradient_clip_mode,
            config.graph,
            pieces=Pieces(are_fixed=self.loss.is_batchwise),
        )

    def evaluating(self, at_once: int) -> Plan:
        """The plan with so many examples evaluated at once."""
        config = replace(self.config, evaluation_batch_size=at_once)
        return replace(self, config=config, recipe=replace(self.recipe, evaluation_batch=at_once))

    def threads(self, examples: int, cores: int | None = None) -> int:
        """The number of CPU threads for a training set of so many examples, on so many cores, else all."""
        config = self.config
        batch = examples if config.batch_size == "full" else config.batch_size
        batch = min(batch, config.micro_batch or batch)
        # Copies that train apart are counted as one, so that each has the bits that it has alone.
        batch *= len(config.seeds) if config.is_stacked else 1
        batch = -(-batch // max(1, started_together(os.environ)))  # each of several processes has its part
        cores = cores or _cores()
        numbers = sum(prod(layer.output_shape) for layer in self.layers.layers)
        return choose_threads(config.threads, self.layers.multiply_adds, numbers, batch, cores)

    def model(self, seeds: Sequence[int] | None = None) -> Copies:
        """The copies of all (or the given) seeds with their initial weights, on the device."""
        seeds = self.config.seeds if seeds is None else seeds
        apart = Apart(self.build, seeds).to(self.device, self.dtype)
        if self.config.channels_last:
            for copy in apart.copies:
                put_channels_last(copy)
        return Stacked(apart) if self.config.stacked and len(apart.seeds) > 1 else apart

    def state(self, hardware: Hardware, fill: Callable[[Copies], None] | None = None) -> State:
        """The state before the first epoch; `fill` sets weights before there is an optimizer of them."""
        model = self.model()
        if fill:
            fill(model)
        average = AveragedWeights(self.model(), model) if self.recipe.averaging.share else None
        return State(model, self.optimizers(model), hardware.scaler(len(model.seeds)), average)

    @fast_paths.without_compiler()
    def optimizers(self, model: Copies) -> Optimizers:
        """The optimizers of a model's weights, with the config's options."""
        return self.optimizer.of(model)

    def pictures(self, aside: Collection[str]) -> list[Choice]:
        """The plots to draw of examples that have some columns `aside`.

        One that needs another column, such as a date, is left out unless the config names it.
        """
        named = {choice.name for choice in self.config.plots}

        def suits(name: str) -> bool:
            return self.parts.part("plots", name).constants.get("aside") in (None, *aside)

        return [choice for choice in self.plots if choice.name in named or suits(choice.name)]

    @property
    def own_files(self) -> list[str]:
        """The files of the user's among the parts that the config names."""
        named: list[tuple[str, str]] = [("task", self.data.task)]
        for kind in KINDS:
            chosen = getattr(self.config, kind)
            each = [chosen] if isinstance(chosen, Choice) else self.plots if kind == "plots" else chosen
            named += [(kind, choice.name) for choice in each]
        parts = [self.parts.part(*each) for each in named]
        return [str(part.path) for part in parts if not part.built_in]

    @property
    def loss_of_batches(self) -> dict[str, Any]:
        """The size of the batches that the loss judges as a whole, for reports; empty for other losses."""
        return {"loss_of_batches": self.config.batch_size} if self.loss.is_batchwise else {}

    @property
    def rate_depends_on_length(self) -> bool:
        """True if the learning rate at a step depends on the planned number of epochs."""
        schedule = self.recipe.schedule
        if schedule.follows_figures:
            return False
        return len({schedule.function(step / 1000) for step in range(1000)}) > 1

    @property
    def keeping(self) -> Keeping:
        """The rule by which checkpoints of single epochs are kept."""
        return Keeping(self.config.keep or 0, self.config.keep_every or 0)

    @property
    def monitor(self) -> str:
        """The column by which best.pt is chosen; by default never one of the test set."""
        averages = self.recipe.averaging.share is not None
        return self.config.monitor or usual_monitor(self.recipe.evaluation_split, averages=averages)

    @property
    def shown_weights(self) -> str:
        """The entry of checkpoints with the weights that are evaluated, drawn and predict."""
        return AVERAGE if self.takes_averaged else "model"

    @property
    def takes_averaged(self) -> bool:
        """True if averaged weights are those that are evaluated, drawn and predict.

        They are, unless `monitor` is a column of the trained weights that averaged ones have too.
        """
        has_other = f"{self.monitor}{AVERAGED}" in self.recipe.columns()
        return self.recipe.averaging.share is not None and not has_other

    @property
    def best_said(self) -> str:
        """The word for an epoch whose monitored figure is best."""
        return said_best(self.monitor)

    @property
    def dataset_said(self) -> str:
        """The name of the dataset, and that it is synthetic if it is."""
        return f"{self.config.dataset.name}{' (synthetic)' if self.data.synthetic else ''}"

    @property
    def monitor_every(self) -> int:
        """Epochs between measurements of the monitored column."""
        split = self.monitor.split("_", 1)[0]
        if split == "trainset":
            return self.config.evaluate_train_every or 1
        return 1 if split == "train" else self.config.evaluate_every

    def without_validation(self, dependent: Sequence[str], column: str) -> str:
        """A note that without a validation split something depends on a column of the training examples."""
        dataset = self.parts.part("dataset", self.config.dataset.name)
        stated = self.config.dataset.options.get("valid_fraction")
        # of too few rows there is none although it is asked for
        fix = "; set dataset.valid_fraction" if "valid_fraction" in dataset.options and not stated else ""
        go = f"{in_words(dependent)} {'goes' if len(dependent) == 1 else 'go'} by"
        return f"{NO_VALID}: {go} {column}{fix}"

    def improves(self, column: str, value: float, best: float | None, by: float = 0.0) -> bool:
        """True if `value` is better than `best` so far, by more than `by`: equal values and nan are not."""
        if value != value or best is None:
            return value == value
        higher = self.better[column.split("_", 1)[1]] == "higher"
        return value - by > best if higher else value + by < best


@dataclass(frozen=True)
class PlannedData:
    """The data of a config and their task, by which they are read, whatever the model is."""

    config: Config
    parts: Parts
    data: Data
    task: Task
    device: torch.device

    def load(
        self,
        preprocessing: Preparation | None = None,
        progress: Progress = no_progress,
        given: Mapping[str, Examples] | None = None,
    ) -> Loaded:
        """The examples, on the device; of `given` ones all, whatever `limit` says.

        That data lie elsewhere than a run recorded becomes a note. Raises UserError if files are missing or
        examples are wrong.
        """
        moved = "" if given else moved_data(self.config)
        if moved and moved not in self.data.notes:
            self.data.notes.append(moved)
        try:
            return Loaded(
                self.data,
                self.device,
                preprocessing,
                progress,
                self.task.misfit,
                self.config.limit if given is None else None,
                _dtype_of(self.config),
                self.task.are_inputs_targets,
                given,
            )
        except Exception as error:
            dataset = self.parts.part("dataset", self.config.dataset.name)
            if not dataset.built_in:
                if isinstance(error, UserError):
                    error.where = error.where or own_place(error) or dataset.place
                else:
                    note_part(error, dataset.place)
            raise


def _dtype_of(config: Config) -> torch.dtype:
    return torch.float64 if config.precision == "float64" else torch.float32


def usual_monitor(evaluation_split: str | None, *, averages: bool) -> str:
    """The column by which best.pt is chosen if the config names none."""
    return f"valid_loss{AVERAGED * averages}" if evaluation_split == "valid" else "train_loss"


def _cores() -> int:
    """The cores of this process among those that are started here together."""
    return max(1, machine.cores() // started_here(os.environ))


def _threads_of(environment: Mapping[str, object]) -> int:
    """The threads that a checkpoint's environment states, 0 if there are fewer cores than that here."""
    stated = str(environment.get("threads", ""))
    if not (stated.isascii() and stated.isdecimal() and len(stated) < 5):
        return 0
    return int(stated) if int(stated) <= _cores() else 0
