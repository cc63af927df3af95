"""Outputs that estimate the targets: a trial of the loss, made-up numbers near and far from them."""

from __future__ import annotations

import torch

from dlrun.blocks.tasks import LossPart
from dlrun.data.examples import Scaling

_TRIED = 64  # made-up targets, standardised ones from 0 to 1, on which the loss is tried
_DISTANCES = (0.01, 0.1, 1.0)  # of outputs from these targets: shares of a change


def are_estimates(loss: LossPart, numbers: int, scaling: Scaling | None) -> bool:
    """True if outputs (n, numbers) estimate the targets: the loss says so, or is smallest only where they do.

    Of a loss that takes other outputs, such as the logit of a probability, it is not; nor of one that does
    not see how large they are, such as a cosine distance. `scaling` is that of the targets (see `Data`).
    """
    if loss.of_estimates:
        return True
    mean, sd = map(torch.tensor, scaling or (0.0, 1.0))
    drawn = torch.rand(_TRIED, numbers, generator=torch.Generator().manual_seed(0))
    targets, one, scale = mean + sd * drawn, sd.expand_as(drawn), sd * drawn
    try:
        smallest = loss.measure(targets, targets)
        room = 1e-6 * (1 + smallest.abs())
        changes = [one, -one, scale, -scale]
        if numbers > 1:  # one that a loss of the sum does not see
            apart = one * torch.linspace(-1, 1, numbers)
            changes += [apart, -apart]
        for change in changes:
            further = [loss.measure(targets + away * change, targets) for away in _DISTANCES]
            if not all(bool((some >= smallest - room).all()) for some in further):
                return False
            if not any(bool((some > smallest + room).any()) for some in further):
                return False
        return True
    except (RuntimeError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError):
        return False
