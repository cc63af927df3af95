"""Pearson's correlation."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from dlrun.blocks.moments import averaged_over_targets, variance, wide

task = "regression"
of_estimates = True


def pearson(outputs: Tensor, targets: Tensor) -> Tensor:
    """The linear correlation of outputs and targets, from -1 to 1, whatever their scales.

    Both are (n, d). Gives both, their squares and their product, (n, 5 d), of which `finish` makes it.
    """
    x, y = wide(outputs), wide(targets)
    return torch.cat([x, y, x.square(), y.square(), x * y], 1)


def finish(means: list[float]) -> float:
    """The mean over the targets; nan if outputs or targets are constant."""
    return averaged_over_targets(means, 5, _of_target)


def _of_target(x: float, y: float, x_square: float, y_square: float, product: float) -> float:
    spread = variance(x, x_square) * variance(y, y_square)
    return (product - x * y) / sqrt(spread) if spread else float("nan")
