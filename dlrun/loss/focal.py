"""The focal loss of the softmax of the outputs."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.blocks.classes import one_output_per_class
from dlrun.config.options import NonNegative

task = "classification"
outputs = one_output_per_class


def focal(outputs: Tensor, targets: Tensor, *, gamma: NonNegative = 2.0) -> Tensor:
    """Cross entropy in nats, times (1 - p)^gamma for a true class of the probability p (softmax).

    `outputs` are logits of shape (n, classes), `targets` class numbers of shape (n,), or shares of classes
    (n, classes), over which it is a mean; gives (n,). Probabilities come out less certain than by cross
    entropy. The paper's α is `class_weight`. Source: Lin et al. 2017, arXiv 1708.02002.

    Args:
        gamma: Exponent that takes weight from what is predicted well already; 0 is the cross entropy.
    """
    logarithms = outputs.log_softmax(1)
    if targets.dim() == 1:
        logarithms = logarithms.gather(1, targets.unsqueeze(1))
    others = -logarithms.expm1()  # 1 - p
    # of 0, to which it may round, a small power has no finite gradient
    losses = -others.clamp_min(torch.finfo(others.dtype).tiny).pow(gamma) * logarithms
    return losses.squeeze(1) if targets.dim() == 1 else (targets * losses).sum(1)
