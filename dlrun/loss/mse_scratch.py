"""Mean squared error written out."""

from __future__ import annotations

from torch import Tensor

task = "regression"


def mse_scratch(outputs: Tensor, targets: Tensor) -> Tensor:
    """Σ (output - target)² / d over the d figures of each example, in the target's unit squared.

    Both of shape (n, d); gives (n,).
    """
    difference = outputs - targets
    return (difference * difference).sum(1) / targets.shape[1]
