"""Mean squared error."""

from __future__ import annotations

from torch import Tensor

task = "regression"


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """The squared difference of outputs and targets, in the target's unit squared.

    Both of shape (n, d); gives (n,), the mean over d.
    """
    return (outputs - targets).square().mean(1)
