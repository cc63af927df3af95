"""Symmetric mean absolute percentage error, as a share."""

from __future__ import annotations

import torch
from torch import Tensor

task = "regression"
of_estimates = True
better = "lower"


def smape(outputs: Tensor, targets: Tensor) -> Tensor:
    """Twice the absolute difference of outputs and targets over the sum of their sizes, from 0 to 2.

    Both are (n, d); gives the mean over d, (n,). It is 0 where both are 0. Source: Makridakis 1993.
    """
    sizes = outputs.abs() + targets.abs()
    return torch.where(sizes > 0, 2 * (outputs - targets).abs() / sizes, 0.0).mean(1)
