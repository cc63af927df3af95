"""Mean absolute error."""

from __future__ import annotations

from torch import Tensor

task = "regression"
of_estimates = True
better = "lower"
in_target_unit = True


def mae(outputs: Tensor, targets: Tensor) -> Tensor:
    """The absolute difference of outputs and targets, in the target's unit.

    Both of shape (n, d); gives (n,), the mean over d.
    """
    return (outputs - targets).abs().mean(1)
