"""The share of examples whose class is among the five most probable."""

from __future__ import annotations

from torch import Tensor

from dlrun.blocks.rankings import is_among_largest

task = "classification"


def top5(outputs: Tensor, targets: Tensor) -> Tensor:
    """True if the true class is among the five largest outputs.

    `outputs` (n, classes), or (n, 1) for two classes, `targets` (n,); gives (n,).
    """
    return is_among_largest(outputs, targets, 5)
