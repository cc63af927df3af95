"""Mean absolute percentage error, as a share."""

from __future__ import annotations

from torch import Tensor

task = "regression"
of_estimates = True
better = "lower"


def mape(outputs: Tensor, targets: Tensor) -> Tensor:
    """The absolute difference of outputs and targets over the target, as a share: 0.1 is 10 %.

    Both are (n, d); gives the mean over d, (n,). It is infinite where a target is 0, of which no share can be
    given; smape or mae suit such targets.
    """
    return ((outputs - targets) / targets).abs().mean(1)
