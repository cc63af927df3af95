"""Mean squared error written out."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.blocks.classes import one_output_per_class_or_figure, same, shares_of

outputs = one_output_per_class_or_figure
probabilities = shares_of
constant = same


def mse_scratch(outputs: Tensor, targets: Tensor) -> Tensor:
    """Σ (output - target)² / d over the d outputs of each example, in the target's unit squared.

    Both of shape (n, d); gives (n,). Targets that are class numbers (n,) are one-hot encoded.
    """
    if targets.dim() == 1:
        targets = (targets.unsqueeze(1) == torch.arange(outputs.shape[1], device=targets.device)).float()
    difference = outputs - targets
    return (difference * difference).sum(1) / targets.shape[1]
