"""Shared code of losses: the number of outputs they need, and class numbers as one-hot rows."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dlrun.data.examples import Data
from dlrun.errors import UserError


def one_output_per_class(data: Data) -> int:
    """The number of outputs: one for each class. Raises UserError if there is only one class."""
    if len(data.classes) < 2:
        raise UserError(f"it needs two or more classes, but the dataset has {len(data.classes)}")
    return len(data.classes)


def one_output_per_class_or_figure(data: Data) -> int:
    """The number of outputs: one for each class, or if there are none one for each target."""
    return one_output_per_class(data) if data.classes else data.targets


def one_hot(targets: Tensor, like: Tensor) -> Tensor:
    """One-hot rows (n, classes) of class numbers (n,), with the type of `like`; rows are left as they are."""
    if targets.dim() > 1:
        return targets.to(like.dtype)
    return F.one_hot(targets, like.shape[1]).to(like.dtype)


def shares_of(outputs: Tensor) -> Tensor:
    """Turn outputs (…, classes) that approximate probabilities into some: none below 0, their sum 1.

    If no output is above 0, the softmax takes their place; its largest entry is at the same class.
    """
    positive = outputs.clamp_min(0)
    total = positive.sum(-1, keepdim=True)
    return (positive / total).where(total > 0, outputs.softmax(-1))


def same(shares: Tensor) -> Tensor:
    """Return the class shares (classes,): they are the constant outputs nearest to one-hot targets."""
    return shares
