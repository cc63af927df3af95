"""Median absolute error."""

from __future__ import annotations

from torch import Tensor

task = "regression"
of_estimates = True
better = "lower"
in_target_unit = True
whole = True


def medae(outputs: Tensor, targets: Tensor) -> Tensor:
    """The median of the absolute differences of outputs and targets, in the target's unit.

    Both are (n, d); gives the mean of the medians of each target, (). Outliers do not move it.
    """
    return (outputs - targets).abs().double().quantile(0.5, dim=0).mean()
