"""Shared code of plots that show a layer of the first copy: by its kind, or by its name."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from dlrun.drawing.style import shown
from dlrun.errors import UserError, nearest
from dlrun.training.trained import Trained

Kind = TypeVar("Kind", bound=nn.Module)


def layers_of_kind(trained: Trained, kind: type[Kind]) -> dict[str, Kind]:
    """The layers of a class, such as nn.Conv2d, by their names, in the order of the forward pass."""
    model = trained.model.copies[0]
    modules = dict(model.named_modules())
    names = [layer.name for layer in trained.plan.layers.layers if layer.kind == kind.__name__]
    found = {name: modules.get(name, model) for name in names}  # default: the model is one such layer
    return {name: module for name, module in found.items() if isinstance(module, kind)}


def layer_called(trained: Trained, plot: str, name: str) -> nn.Module:
    """A layer, or a block of some, by its name. Raises UserError if there is none."""
    modules: dict[str, nn.Module] = dict(trained.model.copies[0].named_modules())
    if name and name in modules:
        return modules[name]
    names = [layer.name for layer in trained.plan.layers.layers]
    raise UserError(f"{plot}: the model has no layer {shown(name)}{nearest(name, names)}")
