"""The coefficient of determination."""

from __future__ import annotations

import torch
from torch import Tensor

task = "regression"


def r2(outputs: Tensor, targets: Tensor) -> Tensor:
    """What R² = 1 - mean error² / variance of y needs of each example: error², y and y².

    Both of shape (n, d); gives (n, 3), means over d.
    """
    return torch.stack([(outputs - targets).square().mean(1), targets.mean(1), targets.square().mean(1)], 1)


def finish(means: list[float]) -> float:
    """The share of the variance that is explained; nan where there is none to explain."""
    error, mean, square = means
    variance = square - mean**2
    return 1 - error / variance if variance > 0 else float("nan")
