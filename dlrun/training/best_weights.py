"""The weights of each copy at its best epoch, which best.pt holds with the epoch and its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlrun.errors import CheckpointRefused
from dlrun.training.best import of_copy, row_of
from dlrun.training.checkpoint import load_checkpoint
from dlrun.training.checkpoint_entries import epochs_of, load_weights
from dlrun.training.copies import Copies
from dlrun.training.not_finite import weight_not_finite
from dlrun.training.recipe import Row


@dataclass
class Held:
    """The weights of one copy after an epoch, by their entries in best.pt, with the figures of that epoch."""

    epoch: int
    figures: dict[str, float]
    weights: dict[str, dict[str, Tensor]]


@dataclass
class BestWeights:
    """The content of best.pt, now or after the next save: the weights of each copy with their epoch."""

    held: list[Held | None]  # None: nothing yet
    is_saved: bool = True  # False if best.pt has to be written

    def take(self, kept: Mapping[str, Copies], index: int, epoch: int, figures: dict[str, float]) -> None:
        """Copy the weights of one copy as its best ones, reusing the memory of the previous ones.

        `kept` are the models that checkpoints hold, by their entries (`State.kept`).
        """
        now = {entry: model.copies[index].state_dict() for entry, model in kept.items()}
        held = self.held[index]
        if held is None:
            cloned = {
                entry: {name: value.clone() for name, value in own.items()} for entry, own in now.items()
            }
            self.held[index] = Held(epoch, figures, cloned)
        else:
            for entry, own in now.items():
                torch._foreach_copy_(list(held.weights[entry].values()), list(own.values()))
            held.epoch, held.figures = epoch, figures
        self.is_saved = False

    def read(self, path: Path, kept: Mapping[str, Copies]) -> None:
        """Take what best.pt holds for a run that is resumed. Raises CheckpointRefused if it does not fit."""
        saved, model = load_checkpoint(path), kept["model"]
        copies = len(model.seeds)
        try:
            epochs = epochs_of(saved.state)
            for entry in kept:
                _refuse_misfit(saved.state[entry], len(epochs), kept[entry])
            if saved.config["seeds"] != model.seeds:
                raise ValueError("it has other seeds")
            figures = {column: [float(value) for value in values] for column, values in saved.figures.items()}
            if any(len(values) != copies for values in figures.values()):
                raise ValueError("it has figures of another number of seeds")
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            reason = str(error) if type(error) is ValueError else "it lacks an entry"
            raise CheckpointRefused(reason, where=str(path)) from None
        device = next(model.parameters(), torch.empty(0)).device
        self.held = [
            Held(
                epochs[index if len(epochs) > 1 else 0],
                of_copy(figures, index),
                {
                    entry: {name: saved.state[entry][index][name].to(device) for name in own.state_dict()}
                    for entry, own in ((entry, other.copies[index]) for entry, other in kept.items())
                },
            )
            for index in range(copies)
        ]

    @property
    def epochs(self) -> list[int]:
        """The epoch of each copy's weights."""
        return [own.epoch for own in self._all()]

    def put_into(self, model: Copies, entry: str, path: Path) -> Copies:
        """Load the held weights of all copies, those of an entry of best.pt, into a model; return it."""
        load_weights(model, [own.weights[entry] for own in self._all()], path)
        return model

    def state(self) -> dict[str, Any]:
        """The entry `state` of best.pt."""
        held, epochs = self._all(), self.epochs
        weights = {entry: [own.weights[entry] for own in held] for entry in held[0].weights}
        return weights | {"epoch": max(epochs), "epochs": epochs}

    def figures(self) -> Row:
        """The figures of each copy at the epoch of its weights."""
        return row_of([own.figures for own in self._all()])

    def missing(self) -> Sequence[int]:
        """The indices of the copies that have no weights yet."""
        return [index for index, own in enumerate(self.held) if own is None]

    def _all(self) -> list[Held]:
        return [own for own in self.held if own is not None]


def _refuse_misfit(weights: list[dict[str, Tensor]], epochs: int, model: Copies) -> None:
    """Raise ValueError unless weights, with so many epochs, are those of a model, and finite."""
    copies = len(model.seeds)
    if len(weights) != copies or epochs not in (1, copies):
        raise ValueError(f"it has the weights of {len(weights)} seeds, not of {copies}")
    for copy, own in zip(model.copies, weights, strict=True):
        for name, value in copy.state_dict().items():
            if own[name].shape != value.shape or own[name].dtype != value.dtype:
                raise ValueError(f"its {name} does not fit the architecture")
    if broken := weight_not_finite(model, weights):
        raise ValueError(f"its {broken[1]} of seed {broken[0]} is not finite")
