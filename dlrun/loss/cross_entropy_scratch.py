"""Softmax and cross entropy written out; equals torch's cross_entropy."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.blocks.classes import one_output_per_class

task = "classification"
outputs = one_output_per_class


def cross_entropy_scratch(outputs: Tensor, targets: Tensor) -> Tensor:
    """Minus the logarithm of the softmax probability of the true class, in nats.

    `outputs` are logits of shape (n, classes), `targets` class numbers of shape (n,), or shares of classes
    (n, classes), over which it is a mean; gives (n,).
    """
    if targets.dim() > 1:
        return -(targets * softmax(outputs).log()).sum(1)
    picked = softmax(outputs)[torch.arange(len(outputs), device=outputs.device), targets]
    return -picked.log()


def softmax(logits: Tensor) -> Tensor:
    """The softmax of each row, exp(o_j) / Σ_k exp(o_k).

    Each row's largest logit is subtracted first, which keeps exp from overflowing and changes no result.
    """
    powers = (logits - logits.amax(-1, keepdim=True).detach()).exp()
    return powers / powers.sum(-1, keepdim=True)


def probabilities(outputs: Tensor) -> Tensor:
    """The softmax of the outputs."""
    return softmax(outputs)
