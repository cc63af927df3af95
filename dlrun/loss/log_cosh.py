"""The logarithm of the hyperbolic cosine of errors."""

from __future__ import annotations

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor

task = "regression"


def log_cosh(outputs: Tensor, targets: Tensor) -> Tensor:
    """The logarithm of cosh(e) of the error e: about e² / 2 near 0, and |e| - log 2 far away.

    The error is the difference of outputs and targets, both of shape (n, d), in the target's unit, or in its
    standard deviations if the dataset scales it; gives (n,), the mean over d.
    """
    away = (outputs - targets).abs()
    near = torch.log1p(2 * (away.clamp_max(1) / 2).sinh().square())  # cosh d - 1, without rounding it to 0
    return torch.where(away < 1, near, away + F.softplus(-2 * away) - log(2)).mean(1)
