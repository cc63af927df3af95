"""Binary cross entropy of the sigmoid of one logit."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dlrun.data import Data
from dlrun.errors import UserError

task = "classification"


def bce(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy between the sigmoid of the output and the true class, 0 or 1, in nats.

    `outputs` are logits of class 1 of shape (n, 1), `targets` class numbers of shape (n,); gives (n,).
    """
    logits = outputs.squeeze(1)
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none")


def outputs(data: Data) -> int:
    """One logit, for the second of two classes."""
    if len(data.classes) != 2:
        raise UserError(f"it needs two classes, but the dataset has {len(data.classes)}")
    return 1


def constant(shares: Tensor) -> Tensor:
    """The logit (1,) whose sigmoid is the share of the second class, for `shares` (2,)."""
    return (shares[1] / shares[0]).log().unsqueeze(0)


def probabilities(outputs: Tensor) -> Tensor:
    """The probabilities of both classes, (…, 2)."""
    return torch.cat([torch.sigmoid(-outputs), torch.sigmoid(outputs)], -1)
