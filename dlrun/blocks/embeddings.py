"""Shared code of losses of embeddings: which examples of a batch are alike, how many dimensions there are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dlrun.data.examples import Data
from dlrun.errors import UserError


def dimensions_of(data: Data, *, dimensions: int) -> int:
    """The number of outputs: one for each dimension. Raises UserError without two classes."""
    if len(data.classes) < 2:
        raise UserError(f"it needs two or more classes, but the dataset has {len(data.classes)}")
    return dimensions


def on_unit_sphere(outputs: Tensor) -> Tensor:
    """Outputs (n, d) divided by their length."""
    return F.normalize(outputs, dim=-1)


def others_of_class(targets: Tensor) -> Tensor:
    """True for each example and each other one of its class, (n, n), from class numbers (n,)."""
    return (targets.unsqueeze(0) == targets.unsqueeze(1)).fill_diagonal_(fill_value=False)


def mean_of_counted(figures: Tensor, counts: Tensor) -> Tensor:
    """The mean, (), of the figures (…) that count; 0 if none does."""
    total = torch.where(counts, figures, 0.0).sum()
    return total / counts.sum().clamp_min(1)
