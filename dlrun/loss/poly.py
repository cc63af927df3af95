"""The first polynomial correction of cross entropy (Poly-1)."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor

from dlrun.blocks.classes import one_output_per_class

task = "classification"
outputs = one_output_per_class


def poly(outputs: Tensor, targets: Tensor, *, epsilon: Annotated[float, Ge(-1)] = 1.0) -> Tensor:
    """Cross entropy in nats, plus epsilon · (1 - p) for a true class of the probability p (softmax).

    `outputs` are logits of shape (n, classes), `targets` class numbers of shape (n,), or shares of classes
    (n, classes), over which it is a mean; gives (n,). Source: Leng et al. 2022, arXiv 2204.12511.

    Args:
        epsilon: Change of the first coefficient of the logarithm's series, which is 1: above 0 probabilities
            come out surer than by cross entropy, below 0 less sure.
    """
    entropies = F.cross_entropy(outputs, targets, reduction="none")
    p = (-entropies).exp() if targets.dim() == 1 else (targets * outputs.softmax(1)).sum(1)
    return entropies + epsilon * (1 - p)
