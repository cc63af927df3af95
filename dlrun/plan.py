"""A config made of functions and shapes: parts imported and checked against each other, nothing read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlrun.components import Parts
from dlrun.config import Choice, Config
from dlrun.copies import Apart
from dlrun.data import Data, Loaded, Preprocessing
from dlrun.errors import UserError
from dlrun.hardware import Hardware, choose_device, choose_threads
from dlrun.layers import Layers, layers_of
from dlrun.trainer import Metric, Recipe, State


@dataclass(frozen=True)
class Plan:
    """What a config means. Nothing is downloaded, read, made or trained yet."""

    config: Config
    parts: Parts
    data: Data
    build: Callable[[], nn.Module]
    layers: Layers
    recipe: Recipe
    device: torch.device
    probabilities: Callable[[Tensor], Tensor] | None  # outputs (…, k) -> (…, classes); None: a regression
    better: dict[str, str]  # figure -> "higher" or "lower"

    def load(self, preprocessing: Preprocessing | None = None) -> Loaded:
        """The examples, on the device. Raises UserError where files are missing."""
        return Loaded(self.data, self.device, preprocessing)

    def hardware(self, loaded: Loaded) -> Hardware:
        """Where it computes; the number of threads may depend on the size of a full batch."""
        size = self.config.batch_size
        batch = len(loaded["train"]) if size == "full" else size
        threads = choose_threads(
            self.config.threads, self.layers.multiply_adds, batch * len(self.config.seeds)
        )
        config = self.config
        return Hardware(self.device, threads, config.precision, config.compile, config.gradient_clip)

    def model(self) -> Apart:
        """All copies with the weights they start from, on the device."""
        return Apart(self.build, self.config.seeds).to(self.device)

    def state(self, hardware: Hardware) -> State:
        """The state before the first epoch."""
        model = self.model()
        choice = self.config.optimizer
        optimizer = self.parts.find("optimizer", choice.name)(list(model.parameters()), **choice.options)
        return State(model, optimizer, hardware.scaler())

    @property
    def varies(self) -> bool:
        """Whether the rate at a step depends on how long the run is planned to be."""
        return len({self.recipe.schedule(step / 97) for step in range(97)}) > 1

    @property
    def monitor(self) -> str:
        """The column that chooses best.pt: never silently one of the test set."""
        chosen = self.config.monitor
        return chosen or ("valid_loss" if self.recipe.evaluation_split == "valid" else "train_loss")

    def improves(self, column: str, value: float, best: float | None) -> bool:
        """Whether `value` is better than `best`. Of equals the first is best; nan is never."""
        if value != value or best is None:
            return value == value
        higher = self.better[column.split("_", 1)[1]] == "higher"
        return value > best if higher else value < best

    def constant(self, targets: Tensor) -> Tensor:
        """The outputs (k,) of the best model that ignores its input, for training targets (n, …).

        For classes the logarithm of their shares, for figures their mean.
        """
        if self.data.task == "regression":
            return targets.mean(0)
        shares = torch.bincount(targets, minlength=len(self.data.classes)).float() / len(targets)
        logs = shares.clamp_min(1e-12).log()
        return logs if self.layers.output_shape != (1,) else (logs[1] - logs[0]).unsqueeze(0)


def make_plan(config: Config, parts: Parts, data_dir: Path) -> Plan:
    """The plan of a config. Raises ConfigError with every mistake that shows without any data."""
    mistakes: list[str] = []

    def part(kind: str, choice: Choice) -> Callable[..., Any]:
        return partial(parts.find(kind, choice.name), **choice.options)

    try:
        device = choose_device(config.device)
    except UserError as error:
        mistakes.append(config.mistake("device", _said(error)))
        device = torch.device("cpu")
    try:
        data: Data = part("dataset", config.dataset)(data_dir)
    except UserError as error:
        raise config.refuse([*mistakes, config.mistake("dataset", _said(error))]) from None

    for kind, choices in (("loss", [config.loss]), ("metrics", config.metrics), ("plots", config.plots)):
        for choice in choices:
            task = parts.part(kind, choice.name).constants.get("task", data.task)
            if task != data.task:
                what = f"{choice.name} is for {task}, but {config.dataset.name} is a {data.task}"
                mistakes.append(config.mistake(kind, what))
    loss = parts.module("loss", config.loss.name)
    try:
        outputs = getattr(loss, "outputs", _outputs)(data)
    except UserError as error:
        raise config.refuse([*mistakes, config.mistake("loss", _said(error))]) from None

    architecture = part("architecture", config.architecture)
    build = partial(architecture, data.input_shape, outputs)
    layers = Layers()
    try:
        layers = layers_of(build, data.input_shape)
        if layers.output_shape != (outputs,):
            given = "×".join(map(str, layers.output_shape)) or "one"
            what = f"{config.architecture.name} gives {given} outputs; {config.loss.name} needs {outputs}"
            mistakes.append(config.mistake("architecture", what))
    except UserError as error:
        mistakes.append(config.mistake("architecture", _said(error)))

    try:
        part("optimizer", config.optimizer)([torch.zeros(1, requires_grad=True)])
    except (UserError, ValueError) as error:  # options that do not go together
        mistakes.append(config.mistake("optimizer", _said(error)))

    recipe = Recipe(
        epochs=config.epochs,
        batch_size=config.batch_size,
        loss=part("loss", config.loss),
        metrics={choice.name: metric(parts, choice) for choice in config.metrics},
        augmentations=[part("augmentations", choice) for choice in config.augmentations],
        schedule=part("schedule", config.schedule),
        evaluation_split=data.evaluation_split,
        evaluate_every=config.evaluate_every,
        evaluate_train_every=config.evaluate_train_every,
    )
    measured = recipe.columns()
    wanted = [("monitor", config.monitor)] if config.monitor else []
    wanted += [
        (f"expect.{claim}", claim.removeprefix("best.")) for claim in config.expect if claim != "seconds"
    ]
    for key, column in wanted:
        if column not in measured:
            what = f"{column} is never measured (there are: {', '.join(measured)})"
            mistakes.append(config.mistake(key, what))
    if mistakes:
        raise config.refuse(mistakes)
    better = {"loss": "lower"} | {
        choice.name: parts.part("metrics", choice.name).constants.get("better", "higher")
        for choice in config.metrics
    }
    probabilities = None
    if data.task == "classification":
        probabilities = getattr(loss, "probabilities", lambda outputs: outputs.softmax(-1))
    return Plan(config, parts, data, build, layers, recipe, device, probabilities, better)


def metric(parts: Parts, choice: Choice) -> Metric:
    """The metric of one choice: its function, and what makes a figure of the means."""
    module = parts.module("metrics", choice.name)
    measure = partial(parts.find("metrics", choice.name), **choice.options)
    return Metric(measure, module.finish) if hasattr(module, "finish") else Metric(measure)


def _outputs(data: Data) -> int:
    return len(data.classes) if data.task == "classification" else data.targets


def _said(error: UserError | ValueError) -> str:
    if not isinstance(error, UserError):
        return str(error)
    return f"{error.what}; {error.fix}" if error.fix else error.what
