"""The coefficient of determination."""

from __future__ import annotations

from statistics import fmean

import torch
from torch import Tensor

task = "regression"
of_estimates = True


def r2(outputs: Tensor, targets: Tensor) -> Tensor:
    """The coefficient of determination R² = 1 - mean error² / variance of y.

    Gives error², y and y² of each example, (n, 3 d), from which `finish` computes R². Both inputs have shape
    (n, d). The result is float64 if the device has it: the variance is a small difference of large numbers.
    """
    wide = torch.float32 if targets.device.type == "mps" else torch.float64
    y, error = targets.to(wide), outputs.to(wide) - targets.to(wide)
    return torch.cat([error.square(), y, y.square()], 1)


def finish(means: list[float]) -> float:
    """R² from the means of error², y and y², averaged over d; nan if a target is constant."""
    d = len(means) // 3
    shares = []
    for error, mean, square in zip(means[:d], means[d : 2 * d], means[2 * d :], strict=True):
        variance = square - mean**2
        shares.append(1 - error / variance if variance > 1e-12 * square else float("nan"))
    return fmean(shares)
