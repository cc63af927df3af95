"""Dropout of a batch in pieces: drawn for the whole batch, of which each piece has its part."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dlrun.data.trees import Tree, at, first_of
from dlrun.errors import UserError
from dlrun.training.copies import Copies, Stacked, dropouts_of

Masks = dict[str, Tensor]  # by the names of dropouts in a copy


class HeldDropout:
    """The masks that the dropouts of a model draw for a batch, held while it is computed in pieces.

    They are those of the batch as a whole, from the same random streams. If a model uses a dropout twice in a
    step, each piece draws its own.
    """

    def __init__(self, model: Copies) -> None:
        self._model = model
        self._of_copies: list[Masks] = []  # (batch, …)
        self._stacked: Masks = {}  # (copies, batch, …)

    @torch.no_grad()
    def draw(self, inputs: Tree) -> None:
        """Draw the masks of a batch (copies, batch, …)."""
        if isinstance(self._model, Stacked):
            self._stacked = self._model.draw_masks(inputs)
            return
        try:
            examples = dropouts_of(self._model.copies[0], at(inputs, (0, slice(1))))
        except UserError:
            return
        n, copies = first_of(inputs).shape[1], range(len(self._model.copies)) if examples else ()
        self._of_copies = [self._drawn(index, examples, n) for index in copies]

    def _drawn(self, index: int, examples: Masks, n: int) -> Masks:
        copy, streams = self._model.copies[index], self._model.streams
        streams.take_up(index)
        drawn = {
            name: copy.get_submodule(name)(example.new_ones(n, *example.shape))
            for name, example in examples.items()
        }
        streams.lay_down(index)
        return drawn

    def take(self, piece: slice) -> None:
        """Let the model's dropouts use what was drawn for a piece of the batch."""
        if isinstance(self._model, Stacked):
            self._model.masks = {name: mask[:, piece] for name, mask in self._stacked.items()}
        for copy, masks in zip(self._model.copies, self._of_copies, strict=False):
            for name, mask in masks.items():
                copy.get_submodule(name).forward = _multiplied_by(mask[piece])

    def release(self) -> None:
        """Let the model's dropouts draw again."""
        if isinstance(self._model, Stacked):
            self._model.masks = None
        for copy, masks in zip(self._model.copies, self._of_copies, strict=False):
            for name in masks:
                copy.get_submodule(name).__dict__.pop("forward", None)
        self._of_copies, self._stacked = [], {}


def _multiplied_by(mask: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda inputs: inputs * mask.to(inputs.dtype)
