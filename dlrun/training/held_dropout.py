"""Dropout of a batch in pieces: drawn for the whole batch, of which each piece has its part."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dlrun.data.trees import Tree, at, first_of
from dlrun.errors import UserError
from dlrun.training.copies import Copies, Stacked
from dlrun.training.stacked_layers import dropouts_of

Masks = dict[str, Tensor]  # by the names of dropouts in a copy


class HeldDropout:
    """The masks that the dropouts of a model draw for a batch, held while it is computed in pieces.

    They are those of the batch as a whole, from the same random streams. If a model uses a dropout twice in a
    step, or gives one something else than (batch, …), of the same shape for each example, each piece draws
    its own.
    """

    def __init__(self, model: Copies) -> None:
        self._model = model
        self._of_copies: list[Masks] = []  # (batch, …)
        self._stacked: Masks = {}  # (copies, batch, …)
        self._examples: Masks | None = None  # a dropout's input for one example; None: not found yet

    @torch.no_grad()
    def draw(self, inputs: Tree) -> None:
        """Draw the masks of a batch (copies, batch, …)."""
        if isinstance(self._model, Stacked):
            self._stacked = self._model.draw_masks(inputs)
            return
        if self._examples is None:
            self._examples = _inputs_of_dropouts(self._model.copies[0], at(inputs, 0))
        examples, n = self._examples, first_of(inputs).shape[1]
        copies = range(len(self._model.copies)) if examples else ()
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
                dropout = copy.get_submodule(name)
                dropout.forward = _multiplied_by(mask[piece], dropout)

    def release(self) -> None:
        """Let the model's dropouts draw again."""
        if isinstance(self._model, Stacked):
            self._model.masks = None
        for copy, masks in zip(self._model.copies, self._of_copies, strict=False):
            for name in masks:
                copy.get_submodule(name).__dict__.pop("forward", None)
        self._of_copies, self._stacked = [], {}


def _inputs_of_dropouts(copy: nn.Module, inputs: Tree) -> Masks:
    """The input of each dropout for one example; empty unless axis 0 of all of them is that of `inputs`.

    Seen by batches of 2 and of 3 examples, between which no other axis may change.
    """
    places = torch.arange(3, device=first_of(inputs).device) % len(first_of(inputs))
    try:
        of_two, of_three = (dropouts_of(copy, at(inputs, places[:count])) for count in (2, 3))
    except UserError:
        return {}
    for name, two in of_two.items():
        three = of_three.get(name)
        if three is None or two.shape != (2, *two.shape[1:]) or three.shape != (3, *two.shape[1:]):
            return {}
    return {name: two[0] for name, two in of_two.items()}


def _multiplied_by(mask: Tensor, dropout: nn.Module) -> Callable[[Tensor], Tensor]:
    """A dropout's forward that multiplies by a mask; inputs of another shape it drops as without one."""

    def forward(inputs: Tensor) -> Tensor:
        if inputs.shape != mask.shape:  # such as sequences, cut to the longest of their batch
            dropped: Tensor = type(dropout).forward(dropout, inputs)
            return dropped
        return inputs * mask.to(inputs.dtype)

    return forward
