"""Binary cross entropy of the sigmoids of logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dlrun.blocks.classes import one_hot, one_output_per_class
from dlrun.blocks.decisions import two_sigmoids
from dlrun.data.examples import Data

task = ("classification", "multilabel")


def bce(outputs: Tensor, targets: Tensor) -> Tensor:
    """Binary cross entropy between the sigmoid of each output and the one-hot target, in nats.

    `targets` are class numbers of shape (n,). For two classes `outputs` are logits of class 1, (n, 1); for
    more classes there is a logit for each, (n, classes), and the loss is the mean over them. Of labels,
    `targets` (n, labels) are 0 or 1, and there is a logit for each. Gives (n,).
    """
    if targets.dim() == 1 and outputs.shape[1] == 1:
        true = targets.to(outputs.dtype).unsqueeze(1)
    elif outputs.shape[1] == 1 and targets.shape[1] == 2:  # shares of two classes, of which class 1 counts
        true = targets[:, 1:]
    else:
        true = one_hot(targets, outputs)
    return F.binary_cross_entropy_with_logits(outputs, true, reduction="none").mean(1)


def outputs(data: Data) -> int:
    """The number of logits: one for two classes, else one for each class."""
    classes = one_output_per_class(data)
    return 1 if classes == 2 else classes


def probabilities(outputs: Tensor) -> Tensor:
    """The probabilities (…, 2) of two classes, or the sigmoids (…, classes) divided by their sum."""
    if outputs.shape[-1] == 1:
        return two_sigmoids(outputs)
    return F.logsigmoid(outputs).softmax(-1)  # the same quotient, stable even if every sigmoid is 0


def constant(shares: Tensor) -> Tensor:
    """The logits (k,) of class shares (classes,): one for two classes, else one for each class."""
    return torch.logit(shares[1:] if len(shares) == 2 else shares, eps=1e-6)
