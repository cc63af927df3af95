"""The explained variance."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.blocks.moments import averaged_over_targets, variance, wide

task = "regression"
of_estimates = True


def explained_variance(outputs: Tensor, targets: Tensor) -> Tensor:
    """1 - variance of the errors / variance of y: R², but for a constant error, which does not count.

    Both are (n, d). Gives the errors, their squares, y and y², (n, 4 d), of which `finish` makes it.
    """
    y, error = wide(targets), wide(targets) - wide(outputs)
    return torch.cat([error, error.square(), y, y.square()], 1)


def finish(means: list[float]) -> float:
    """The mean over the targets; nan if one is constant."""
    return averaged_over_targets(means, 4, _of_target)


def _of_target(error: float, error_square: float, y: float, y_square: float) -> float:
    spread = variance(y, y_square)
    return 1 - (error_square - error**2) / spread if spread else float("nan")
