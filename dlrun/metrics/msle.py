"""Mean squared logarithmic error."""

from __future__ import annotations

from torch import Tensor

task = "regression"
of_estimates = True
better = "lower"


def msle(outputs: Tensor, targets: Tensor) -> Tensor:
    """The squared difference of log(1 + output) and log(1 + target): of relative errors in numbers from 0 up.

    Both are (n, d); gives the mean over d, (n,). It is nan where an output or a target is below -1.
    """
    return (outputs.log1p() - targets.log1p()).square().mean(1)
