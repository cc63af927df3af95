"""Shared code of plots that show a model's convolutions."""

from __future__ import annotations

from torch import nn

from dlrun.drawing.layers import layers_of_kind
from dlrun.errors import UserError
from dlrun.training.trained import Trained


def convolutions_of(trained: Trained, plot: str) -> list[nn.Conv2d]:
    """The convolutions of the first copy, in the order of the forward pass.

    Raises UserError if there is none.
    """
    if found := layers_of_kind(trained, nn.Conv2d):
        return list(found.values())
    raise UserError(f"{plot} needs a model with a convolution")
