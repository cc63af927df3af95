"""Binary cross entropy of the sigmoids of logits."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dlrun.blocks.classes import (
    one_logit_for_two_classes,
    sigmoid_probabilities,
    sigmoid_shares,
    true_sigmoids,
)
from dlrun.blocks.constants import constants
from dlrun.config.options import Positive

task = ("classification", "multilabel")
outputs = one_logit_for_two_classes
probabilities = sigmoid_probabilities
constant = sigmoid_shares


def bce(outputs: Tensor, targets: Tensor, *, pos_weight: Positive | list[Positive] | None = None) -> Tensor:
    """Binary cross entropy between the sigmoid of each output and the one-hot target, in nats.

    `targets` are class numbers of shape (n,). For two classes `outputs` are logits of class 1, (n, 1); for
    more classes there is a logit for each, (n, classes), and the loss is the mean over them. Of labels,
    `targets` (n, labels) are 0 or 1, and there is a logit for each. Gives (n,).

    Args:
        pos_weight: Factor of the loss where a label applies, or of class 1 of two, as in PyTorch's
            BCEWithLogitsLoss: one for all, or one for each in their order, such as the number of examples
            without a label over that with it; null: 1. Probabilities grow with it.
    """
    true = true_sigmoids(targets, outputs)
    each = [pos_weight] if isinstance(pos_weight, int | float) else pos_weight
    weight = None if each is None else constants(each, outputs)
    if weight is not None and len(weight) not in (1, outputs.shape[1]):
        raise ValueError(f"pos_weight has {len(weight)} entries for {outputs.shape[1]} logits")
    return F.binary_cross_entropy_with_logits(outputs, true, reduction="none", pos_weight=weight).mean(1)
