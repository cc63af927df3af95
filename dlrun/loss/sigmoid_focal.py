"""The focal loss of the sigmoids of logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dlrun.blocks.classes import (
    one_logit_for_two_classes,
    sigmoid_probabilities,
    sigmoid_shares,
    true_sigmoids,
)
from dlrun.config.options import Fraction, NonNegative

task = ("classification", "multilabel")
outputs = one_logit_for_two_classes
probabilities = sigmoid_probabilities
constant = sigmoid_shares


def sigmoid_focal(
    outputs: Tensor, targets: Tensor, *, gamma: NonNegative = 2.0, alpha: Fraction | None = None
) -> Tensor:
    """Binary cross entropy in nats, times (1 - p)^gamma for a true answer of the probability p (sigmoid).

    `outputs` and `targets` are those of `bce`: of labels (n, labels), or of classes, a single logit for two;
    gives (n,), the mean over logits. Source: Lin et al. 2017, arXiv 1708.02002, and
    `torchvision.ops.sigmoid_focal_loss`.

    Args:
        gamma: Exponent that takes weight from what is predicted well already; 0 is the binary cross entropy.
        alpha: Weight of labels that apply, beside 1 - alpha for the others, such as 0.25; null: 1 for both.
    """
    true = true_sigmoids(targets, outputs)
    shares = outputs.sigmoid()
    wrong = shares * (1 - true) + (1 - shares) * true
    # of 0, to which it may round, a small power has no finite gradient
    factors = wrong.clamp_min(torch.finfo(wrong.dtype).tiny).pow(gamma)
    losses = factors * F.binary_cross_entropy_with_logits(outputs, true, reduction="none")
    if alpha is not None:
        losses = losses * (alpha * true + (1 - alpha) * (1 - true))
    return losses.mean(1)
