"""The Huber loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dlrun.config.options import Positive

task = "regression"


def huber(outputs: Tensor, targets: Tensor, *, delta: Positive = 1.0) -> Tensor:
    """Half the square of the error e up to delta, and delta · (|e| - delta / 2) beyond.

    The error is the difference of outputs and targets, both of shape (n, d); gives (n,), the mean over d.
    Source: Huber 1964, doi 10.1214/aoms/1177703732.

    Args:
        delta: Error beyond which an example pulls no harder, in the target's unit, or in its standard
            deviations if the dataset scales it.
    """
    return F.huber_loss(outputs, targets, reduction="none", delta=delta).mean(1)
