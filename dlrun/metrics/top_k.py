"""The share of examples whose class is among the k most probable."""

from __future__ import annotations

from torch import Tensor

from dlrun.blocks.rankings import is_among_largest
from dlrun.config.options import Count

task = "classification"


def top_k(outputs: Tensor, targets: Tensor, *, k: Count = 5) -> Tensor:
    """True if the true class is among the `k` largest outputs.

    `outputs` (n, classes), or (n, 1) for two classes, `targets` (n,); gives (n,).

    Args:
        k: Largest outputs among which the true class may be.
    """
    return is_among_largest(outputs, targets, k)
