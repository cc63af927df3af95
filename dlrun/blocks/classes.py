"""What losses do with classes: how many outputs they need, and class numbers as figures."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dlrun.data.examples import Data
from dlrun.errors import UserError


def one_output_per_class(data: Data) -> int:
    """One output for each class. Raises UserError where there is nothing to tell apart."""
    if len(data.classes) < 2:
        raise UserError(f"it needs two or more classes, but the dataset has {len(data.classes)}")
    return len(data.classes)


def one_output_per_class_or_figure(data: Data) -> int:
    """One output for each class, or in a regression for each figure."""
    return data.targets if data.task == "regression" else one_output_per_class(data)


def one_hot(targets: Tensor, like: Tensor) -> Tensor:
    """Class numbers (n,) as rows (n, classes) of zeros with a 1 for the class, of the type of `like`."""
    return F.one_hot(targets, like.shape[1]).to(like.dtype)


def shares_of(outputs: Tensor) -> Tensor:
    """Outputs (…, classes) that are meant to be probabilities as such: none below 0, their sum 1.

    Where no output is above 0 there are no shares of anything: the softmax, whose largest is the same.
    """
    positive = outputs.clamp_min(0)
    total = positive.sum(-1, keepdim=True)
    return (positive / total).where(total > 0, outputs.softmax(-1))


def same(shares: Tensor) -> Tensor:
    """The class shares (classes,) themselves: the constant outputs nearest to one-hot targets."""
    return shares
