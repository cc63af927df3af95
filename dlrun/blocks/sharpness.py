"""The step uphill of sharpness-aware minimisation (SAM), and the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor, optim

_LEAST = 1e-12  # a gradient of length 0 moves nothing


def sharpness_aware(made: optim.Optimizer, *, rho: float, adaptive: bool) -> optim.Optimizer:
    """Let the groups of an optimizer state `rho` and `adaptive`, which `sharpness_aware_step` reads."""
    for group in made.param_groups:
        group |= {"rho": rho, "adaptive": adaptive}
    return made


def sharpness_aware_step(
    optimizer: optim.Optimizer, kind: type[optim.Optimizer], closure: Callable[[], Tensor]
) -> Tensor:
    """Do the step of a class of PyTorch's along the gradient uphill, and return the loss before it."""
    loss = _uphill_gradient(optimizer.param_groups, closure)
    with torch.no_grad():
        unwrap(kind.step)(optimizer)  # PyTorch's wrapper would import its compiler
    return loss


def _uphill_gradient(groups: Iterable[Mapping[str, Any]], closure: Callable[[], Tensor]) -> Tensor:
    """Give weights the gradient that they have a step of length rho uphill, and return the loss before it.

    The step is e = rho · g / ‖g‖, of an `adaptive` group e = rho · w² g / ‖w g‖; the norm is that of all
    groups. Afterwards each weight has the bits that it had.
    """
    loss = closure()
    before = _move(groups)
    closure()
    with torch.no_grad():
        for weight, kept in before:
            weight.copy_(kept)
    return loss


@torch.no_grad()
def _move(groups: Iterable[Mapping[str, Any]]) -> list[tuple[Tensor, Tensor]]:
    """Move the weights that have a gradient uphill; each with a copy of what it was."""
    moved = [
        (weight, weight.grad * (weight.abs() if group["adaptive"] else 1), group)
        for group in groups
        for weight in group["params"]
        if weight.grad is not None
    ]
    before = [(weight, weight.clone()) for weight, _, _ in moved]
    if not moved:
        return before
    length = torch.stack([scaled.norm() for _, scaled, _ in moved]).norm().clamp_min(_LEAST)
    for weight, scaled, group in moved:
        weight.add_(group["rho"] * scaled * (weight.abs() if group["adaptive"] else 1) / length)
    return before
