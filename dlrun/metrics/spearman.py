"""Spearman's rank correlation."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.blocks.rankings import ranks

task = "regression"
of_estimates = True
whole = True


def spearman(outputs: Tensor, targets: Tensor) -> Tensor:
    """The correlation of the ranks of outputs and targets, from -1 to 1: 1 of any rising relation.

    Both are (n, d); gives the mean over d, (). Equal values share the mean of their ranks; nan if all are
    equal. Source: Spearman 1904.
    """
    return torch.stack([_of_target(*own) for own in zip(outputs.T, targets.T, strict=True)]).mean()


def _of_target(outputs: Tensor, targets: Tensor) -> Tensor:
    x, y = (each - each.mean() for each in (ranks(outputs), ranks(targets)))
    return (x * y).sum() / (x.square().sum() * y.square().sum()).sqrt()
