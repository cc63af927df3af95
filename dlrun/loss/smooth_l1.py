"""The smooth absolute error."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dlrun.config.options import Positive

task = "regression"


def smooth_l1(outputs: Tensor, targets: Tensor, *, beta: Positive = 1.0) -> Tensor:
    """The absolute error |e| less beta / 2, and e² / (2 · beta) below beta.

    The error is the difference of outputs and targets, both of shape (n, d); gives (n,), the mean over d. It
    is the Huber loss divided by its delta, so that large errors have a gradient of 1. Source: Girshick 2015,
    arXiv 1504.08083.

    Args:
        beta: Error from which on an example pulls no harder, in the target's unit, or in its standard
            deviations if the dataset scales it.
    """
    return F.smooth_l1_loss(outputs, targets, reduction="none", beta=beta).mean(1)
