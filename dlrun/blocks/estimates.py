"""Outputs that estimate the targets: a trial of the loss, made-up numbers near and far from them."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.blocks.tasks import LossPart

_TRIED = 64  # made-up targets, from 0 to 1, on which the loss is tried
_DISTANCES = (0.01, 0.1, 1.0)  # of outputs from these targets


def are_estimates(loss: LossPart, numbers: int) -> bool:
    """True if outputs (n, numbers) estimate the targets: the loss says so, or is smallest where they do.

    Of a loss that takes other outputs, such as the logit of a probability, it is not.
    """
    if loss.of_estimates:
        return True
    targets = torch.rand(_TRIED, numbers, generator=torch.Generator().manual_seed(0))

    def at_distance(away: float) -> Tensor:
        return loss.measure(targets + away, targets)

    try:
        smallest = at_distance(0.0)
        room = 1e-6 * (1 + smallest.abs())
        return all(
            bool((at_distance(away) >= smallest - room).all())
            for distance in _DISTANCES
            for away in (distance, -distance)
        )
    except (RuntimeError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError):
        return False
