"""The coefficient of determination."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.blocks.moments import averaged_over_targets, variance, wide

task = "regression"
of_estimates = True


def r2(outputs: Tensor, targets: Tensor) -> Tensor:
    """The coefficient of determination R² = 1 - mean error² / variance of y.

    Gives error², y and y² of each example, (n, 3 d), from which `finish` computes R². Both inputs have shape
    (n, d).
    """
    y, error = wide(targets), wide(outputs) - wide(targets)
    return torch.cat([error.square(), y, y.square()], 1)


def finish(means: list[float]) -> float:
    """R² from the means of error², y and y², averaged over d; nan if a target is constant."""
    return averaged_over_targets(means, 3, _of_target)


def _of_target(error: float, y: float, square: float) -> float:
    spread = variance(y, square)
    return 1 - error / spread if spread else float("nan")
