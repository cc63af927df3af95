"""The focal loss of the softmax of the outputs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dlrun.config.options import NonNegative

task = "classification"  # a config with another task is refused


def my_part(outputs: Tensor, targets: Tensor, *, gamma: NonNegative = 2.0) -> Tensor:
    """Cross entropy in nats, times (1 - p)^gamma for a true class of the probability p.

    A loss is `x(outputs, targets, *, …) -> (n,)`: one figure for each example and no mean, which dlrun takes.
    `outputs` are logits (n, classes), `targets` class numbers (n,). Source: Lin et al. 2017, arXiv
    1708.02002.

    Args:
        gamma: Exponent that takes weight from what is predicted well already; 0 is the cross entropy.
    """
    entropy = F.cross_entropy(outputs, targets, reduction="none")
    return (1 - (-entropy).exp()) ** gamma * entropy
