"""Figures of a regression from means of powers: variances, and averages over several targets."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean

import torch
from torch import Tensor

_ROUNDING = 1e-12  # of the square: a variance below it is that of a constant


def wide(values: Tensor) -> Tensor:
    """The values in float64 if the device has it: a variance is a small difference of large numbers."""
    return values if values.device.type == "mps" else values.to(torch.float64)


def variance(mean: float, square: float) -> float:
    """The variance of values with these means of themselves and their squares; 0 of a constant."""
    found = square - mean**2
    return found if found > _ROUNDING * square else 0.0


def averaged_over_targets(means: list[float], powers: int, figure: Callable[..., float]) -> float:
    """The mean over d targets of a `figure` of so many means each, from `powers` · d of them."""
    d = len(means) // powers
    return fmean(figure(*means[target::d]) for target in range(d))
