"""Trained: a trained model with its data, which plots and evaluation are given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from dlrun.blocks.decisions import Decision
from dlrun.data.example_weights import parted, unit_weights
from dlrun.data.examples import Data
from dlrun.data.loaded import Loaded
from dlrun.data.preparation import Preparation
from dlrun.data.trees import Tree, at, expanded, first_of, joined, main_outputs, mapped, single
from dlrun.run_folders.run import Run
from dlrun.training.baselines import baselines_of
from dlrun.training.checkpoint import load_checkpoint
from dlrun.training.checkpoint_entries import WhichWeights, load_weights
from dlrun.training.copies import Copies, as_tensor
from dlrun.training.hardware import Hardware
from dlrun.training.loop import predictions
from dlrun.training.plan import Plan
from dlrun.training.thresholds import decided_by


@dataclass
class Trained:
    """A trained model, its data and its run folder: the input of plots and of `dlrun eval`.

    `model` holds all copies; axis 0 of its outputs is the seed. `split` is the one that plots show: the
    evaluation split, or train if there is none. Of data that changed since training a split leaves out what
    was trained on, train what was not.
    """

    plan: Plan
    loaded: Loaded
    hardware: Hardware
    model: Copies
    epoch: int
    run: Run | None = None
    _outputs: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    reached: dict[str, dict[str, dict[str, float]]] = field(
        default_factory=dict
    )  # baselines, as far as known
    epochs: list[int] = field(default_factory=list)  # the epoch of each copy; empty: all are of `epoch`
    is_best: bool = False  # True if they are the best ones, as in best.pt
    trained_on: Tensor | None = None  # the keys of its training examples, if they are known
    validated_on: Tensor | None = None  # those of its validation examples, where other data are given
    left_out: dict[str, int] = field(default_factory=dict)  # examples of each split that it leaves out
    given: str = ""  # the split that is other data
    source: str = ""  # and the file or folder of it
    weights_taken: WhichWeights | None = None  # by the model, if its run averaged weights
    temperatures: list[float] = field(default_factory=list)  # by which outputs are divided, of each copy
    tta: str = ""  # the views over which outputs are averaged
    without_tta: Trained | None = None  # the same without them
    thresholds: dict[str, float] = field(default_factory=dict)  # of `Task.positives`; `plan` decides by them
    no_baselines: str = ""  # the reason why other data have none that learn from the training data

    @property
    def data(self) -> Data:
        return self.plan.data

    @property
    def seeds(self) -> list[int]:
        return self.model.seeds

    def at_epoch(self, copy: int | None = None) -> str:
        """The epoch of one copy, or those of all, in words: `epoch 12`, `epochs 7 to 40 (best)`."""
        epochs = self.epochs or [self.epoch]
        if copy is not None:
            return f"epoch {epochs[copy if len(epochs) > 1 else 0]:,}"
        low, high = min(epochs), max(epochs)
        said = f" ({self.plan.best_said})" * self.is_best
        return f"epoch {high:,}" if low == high else f"epochs {low:,} to {high:,}{said}"

    @property
    def split(self) -> str:
        return self.data.evaluation_split or "train"

    def chosen(self, split: str) -> str:
        """The split that a plot's option names; auto is the evaluation split, or train if there is none."""
        return self.split if split == "auto" else split

    @cached_property
    def rows(self) -> dict[str, list[Any]]:
        """metrics.csv as columns (see `Run.rows`)."""
        return self.run.rows() if self.run else {}

    def outputs(self, split: str) -> tuple[Tensor, Tensor]:
        """Outputs (copies, n, …) that predict and targets (n, …) of a split, in its own order, on the CPU."""
        if split not in self._outputs:  # several plots draw from the same ones
            size = self.plan.recipe.evaluation_batch
            found = [
                (main_outputs(outputs).cpu(), single(parted(targets)[0], "the targets")[0].cpu())
                for outputs, targets in predictions(self.model, self.loaded[split], self.hardware, size)
            ]
            self._outputs[split] = torch.cat([o for o, _ in found], 1), torch.cat([t for _, t in found])
        return self._outputs[split]

    @property
    def decision(self) -> Decision:
        """The rule by which a class is predicted; only for tasks with classes."""
        assert self.plan.task.decision is not None, f"{self.data.task} predicts no class"
        return self.plan.task.decision

    def probabilities(self, inputs: Tensor) -> Tensor:
        """The probabilities (copies, n, classes) for raw inputs (n, *input shape), on the CPU."""
        return self.decision.probabilities(self.outputs_at(inputs))

    def outputs_at(self, inputs: Tree) -> Tensor:
        """The outputs (copies, n, …) that predict, for raw inputs (n, *input shape), on the CPU."""
        size = self.plan.recipe.evaluation_batch
        return main_outputs(outputs_for(self.model, inputs, self.loaded.preprocessing, self.hardware, size))

    @torch.no_grad()
    def judged(self, split: str, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs (copies, m, …) that predict for some examples, and their losses (copies, m).

        Both are on the CPU. The loss of an example is its own, whatever its weight, and nan if no place of it
        counts.
        """
        self.model.eval()
        copies, indices = len(self.seeds), indices.to(self.hardware.device)

        def compute(piece: slice) -> tuple[Tensor, Tensor]:
            inputs, targets = (expanded(tree, copies) for tree in self.loaded[split].batch(indices[piece]))
            with self.hardware.autocast():
                outputs = self.model(inputs)
            judged = self.plan.recipe.judged(unit_weights(targets), inputs)
            losses = self.model.losses(self.plan.recipe.loss, outputs, *judged)
            return main_outputs(joined(outputs)).cpu(), as_tensor(losses).cpu()

        size = self.plan.recipe.evaluation_batch
        found = list(self.hardware.in_pieces(len(indices), size, compute))
        losses = torch.cat([loss for _, loss in found], 1)
        if losses.dim() == 3:  # w · loss, and w
            losses = losses[..., 0] / losses[..., 1]
        return torch.cat([o for o, _ in found], 1), losses

    def weights(self, split: str) -> Tensor | None:
        """The weights (n,) of the examples of a split, on the CPU; None if they have none."""
        weights = self.loaded[split].weights
        return None if weights is None else weights.cpu()

    def name_of(self, split: str, index: int) -> str:
        """The name of an example of a split, such as its file or its row; "" if the dataset tells none."""
        origin = self.loaded[split].origin
        return "" if origin is None or self.data.name_of is None else self.data.name_of(int(origin[index]))

    def seen(self, split: str) -> Tensor | None:
        """The examples of a split that were trained on, as bool (n,); None if that is not known."""
        keys = self.loaded[split].keys
        return None if keys is None or self.trained_on is None else torch.isin(keys, self.trained_on)

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """The figures of the baselines on a split: baseline -> figure -> value.

        They are decided as in training, whatever thresholds the model has.
        """
        if split not in self.reached:
            self.reached[split] = baselines_of(self._plan_of_training, self.loaded, split)
        return self.reached[split]

    def moments(self) -> Iterator[Trained]:
        """Yield the model of each epoch that has a snapshot of its weights, in order."""
        for path in sorted(self.run.weights.glob("*.pt")) if self.run else ():
            saved = load_checkpoint(path)
            model = self.plan.model()
            load_weights(model, saved.state["model"], path)
            plan, epoch = self._plan_of_training, saved.state["epoch"]
            as_trained = replace(self, plan=plan, temperatures=[], thresholds={}, tta="", without_tta=None)
            yield replace(as_trained, model=model, epoch=epoch, _outputs={})

    @property
    def _plan_of_training(self) -> Plan:
        """The plan without thresholds."""
        return decided_by(self.plan, {}) if self.thresholds else self.plan


@torch.no_grad()
def outputs_for(
    model: Copies, inputs: Tree, preprocessing: Preparation, hardware: Hardware, size: int
) -> Tree:
    """The outputs (copies, n, …) for raw inputs (n, *input shape), `size` at a time, on the CPU."""
    model.eval()
    dtype = next((weight.dtype for weight in model.parameters()), torch.float32)
    preprocessing = preprocessing.to(hardware.device, dtype)

    def compute(piece: slice) -> Tree:
        prepared = preprocessing(mapped(lambda some: some.to(hardware.device), at(inputs, piece)))
        with hardware.autocast():
            outputs = joined(model(expanded(prepared, len(model.seeds))))
        return mapped(Tensor.cpu, outputs)

    found = hardware.in_pieces(len(first_of(inputs)), size, compute)
    return mapped(lambda *each: torch.cat(each, 1), *found)
