"""The share of examples whose class is among the five most probable."""

from __future__ import annotations

import torch
from torch import Tensor

task = "classification"


def top5(outputs: Tensor, targets: Tensor) -> Tensor:
    """True if the true class is among the five largest outputs.

    `outputs` (n, classes), or (n, 1) for two classes, `targets` (n,); gives (n,).
    """
    if outputs.shape[1] == 1:  # a single logit for two classes
        return torch.ones_like(targets, dtype=torch.bool)
    largest = outputs.topk(min(5, outputs.shape[1]), 1).indices
    return (largest == targets.unsqueeze(1)).any(1)
