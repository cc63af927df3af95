"""Cross entropy of the softmax of the outputs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dlrun.blocks.classes import one_output_per_class

task = "classification"
outputs = one_output_per_class


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy between the softmax of the outputs and the true class, in nats.

    `outputs` are logits of shape (n, classes), `targets` class numbers of shape (n,) or shares of classes
    (n, classes); gives (n,).
    """
    return F.cross_entropy(outputs, targets, reduction="none")
