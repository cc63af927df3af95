"""The rank of the true class among the scores of all classes."""

from __future__ import annotations

import torch
from torch import Tensor


def is_among_largest(outputs: Tensor, targets: Tensor, k: int) -> Tensor:
    """True where the true class is among the k largest outputs, (n,).

    `outputs` (n, classes), or (n, 1) for two classes, one logit that is above 0 for class 1; `targets` (n,).
    """
    if outputs.shape[1] == 1:
        outputs = torch.cat([torch.zeros_like(outputs), outputs], 1)
    largest = outputs.topk(min(k, outputs.shape[1]), 1).indices
    return (largest == targets.unsqueeze(1)).any(1)
