"""Root mean squared error."""

from __future__ import annotations

from math import sqrt

from torch import Tensor

task = "regression"
better = "lower"


def rmse(outputs: Tensor, targets: Tensor) -> Tensor:
    """The squared difference of outputs and targets, whose mean's root is in the target's unit.

    Both of shape (n, d); gives (n,), the mean over d.
    """
    return (outputs - targets).square().mean(1)


def finish(means: list[float]) -> float:
    """The root of the mean."""
    return sqrt(means[0])
