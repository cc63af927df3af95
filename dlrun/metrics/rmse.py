"""Root mean squared error."""

from __future__ import annotations

from math import sqrt

from torch import Tensor

task = "regression"
of_estimates = True
better = "lower"
in_target_unit = True


def rmse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Root mean squared error, in the target's unit.

    Gives the squared difference of outputs and targets, (n, d), as the mean over d, (n,); `finish` takes the
    root of its mean.
    """
    return (outputs - targets).square().mean(1)


def finish(means: list[float]) -> float:
    """The root of the mean."""
    return sqrt(means[0])
