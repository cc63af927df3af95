"""The weights of each copy at its best epoch, which best.pt holds with the epoch and its figures."""

from __future__ import annotations

from collections.abc import Sequence
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
    """The weights of one copy after an epoch, with the figures of that epoch."""

    epoch: int
    figures: dict[str, float]
    weights: dict[str, Tensor]


@dataclass
class BestWeights:
    """The content of best.pt, now or after the next save: the weights of each copy with their epoch."""

    held: list[Held | None]  # None: nothing yet
    is_saved: bool = True  # False if best.pt has to be written

    def take(self, model: Copies, index: int, epoch: int, figures: dict[str, float]) -> None:
        """Copy the weights of one copy as its best ones, reusing the memory of the previous ones."""
        now, held = model.copies[index].state_dict(), self.held[index]
        if held is None:
            self.held[index] = Held(epoch, figures, {name: value.clone() for name, value in now.items()})
        else:
            torch._foreach_copy_(list(held.weights.values()), list(now.values()))
            held.epoch, held.figures = epoch, figures
        self.is_saved = False

    def read(self, path: Path, model: Copies) -> None:
        """Take what best.pt holds for a run that is resumed. Raises CheckpointRefused if it does not fit."""
        saved = load_checkpoint(path)
        copies = len(model.seeds)
        try:
            weights, epochs = saved.state["model"], epochs_of(saved.state)
            if len(weights) != copies or len(epochs) not in (1, copies):
                raise ValueError(f"it has the weights of {len(weights)} seeds, not of {copies}")
            if saved.config["seeds"] != model.seeds:
                raise ValueError("it has other seeds")
            for copy, own in zip(model.copies, weights, strict=True):
                for name, value in copy.state_dict().items():
                    if own[name].shape != value.shape or own[name].dtype != value.dtype:
                        raise ValueError(f"its {name} does not fit the architecture")
            if broken := weight_not_finite(model, weights):
                raise ValueError(f"its {broken[1]} of seed {broken[0]} is not finite")
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
                {name: weights[index][name].to(device) for name in model.copies[index].state_dict()},
            )
            for index in range(copies)
        ]

    def put_into(self, model: Copies, path: Path) -> list[int]:
        """Load the held weights of all copies into a model; return their epochs."""
        held = self._all()
        load_weights(model, [own.weights for own in held], path)
        return [own.epoch for own in held]

    def state(self) -> dict[str, Any]:
        """The entry `state` of best.pt."""
        held = self._all()
        epochs = [own.epoch for own in held]
        return {"model": [own.weights for own in held], "epoch": max(epochs), "epochs": epochs}

    def figures(self) -> Row:
        """The figures of each copy at the epoch of its weights."""
        return row_of([own.figures for own in self._all()])

    def missing(self) -> Sequence[int]:
        """The indices of the copies that have no weights yet."""
        return [index for index, own in enumerate(self.held) if own is None]

    def _all(self) -> list[Held]:
        return [own for own in self.held if own is not None]
