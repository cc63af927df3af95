"""The share of examples whose class is among the five most probable."""

from __future__ import annotations

from torch import Tensor

task = "classification"


def top5(outputs: Tensor, targets: Tensor) -> Tensor:
    """Whether the true class is among the five largest outputs.

    `outputs` (n, classes), `targets` (n,); gives (n,).
    """
    largest = outputs.topk(min(5, outputs.shape[1]), 1).indices
    return (largest == targets.unsqueeze(1)).any(1)
