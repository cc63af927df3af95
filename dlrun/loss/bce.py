"""Binary cross entropy of the sigmoids of logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dlrun.blocks.classes import one_hot, one_output_per_class
from dlrun.data.examples import Data

task = "classification"


def bce(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy between the sigmoid of each output and whether its class is the true one, in nats.

    `targets` are class numbers of shape (n,). For two classes `outputs` are logits of class 1, (n, 1);
    for more there is a logit for each class, (n, classes), and the mean is taken over them. Gives (n,).
    """
    true = targets.to(outputs.dtype).unsqueeze(1) if outputs.shape[1] == 1 else one_hot(targets, outputs)
    return F.binary_cross_entropy_with_logits(outputs, true, reduction="none").mean(1)


def outputs(data: Data) -> int:
    """One logit, for the second of two classes; one for each of more."""
    classes = one_output_per_class(data)
    return 1 if classes == 2 else classes


def probabilities(outputs: Tensor) -> Tensor:
    """The probabilities of both classes, (…, 2), or the sigmoids (…, classes) divided by their sum."""
    if outputs.shape[-1] == 1:
        return torch.cat([torch.sigmoid(-outputs), torch.sigmoid(outputs)], -1)
    return F.logsigmoid(outputs).softmax(-1)  # the same quotient, also where every sigmoid is 0


def constant(shares: Tensor) -> Tensor:
    """The logits (k,) of class shares (classes,): of the second of two, or of each of more."""
    return torch.logit(shares[1:] if len(shares) == 2 else shares, eps=1e-6)
