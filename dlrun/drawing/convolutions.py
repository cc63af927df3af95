"""Shared code of plots that show a model's convolutions."""

from __future__ import annotations

from torch import nn

from dlrun.errors import UserError
from dlrun.training.trained import Trained


def convolutions_of(trained: Trained, plot: str) -> list[nn.Conv2d]:
    """The convolutions of the first copy, in the order of the forward pass.

    Raises UserError if there is none.
    """
    model = trained.model.copies[0]
    modules = dict(model.named_modules())
    names = [layer.name for layer in trained.plan.layers.layers if layer.kind == "Conv2d"]
    found = [modules.get(name, model) for name in dict.fromkeys(names)]  # default: the model is one Conv2d
    if not found:
        raise UserError(f"{plot} needs a model with a convolution")
    return [module for module in found if isinstance(module, nn.Conv2d)]
