"""A learning rate that rises once and then falls to almost 0 (1cycle)."""

from __future__ import annotations

from math import cos, pi
from typing import Annotated

from annotated_types import Gt, Lt

from dlrun.config.options import NonNegative


def one_cycle(
    progress: float,
    *,
    peak: Annotated[float, Gt(0), Lt(1)] = 0.3,
    start: NonNegative = 0.04,
    final: NonNegative = 1e-4,
) -> float:
    """One rise up to 1, and one fall to almost 0, both along half cosines.

    `progress` goes from 0 to 1 over the run. Source: Smith and Topin 2017, arXiv 1708.07120.

    Args:
        peak: Share of the run after which the rate is highest.
        start: Multiple of the learning rate at the first step.
        final: Multiple of the learning rate at the last step.
    """
    if progress < peak:
        return 1 + (start - 1) * (1 + cos(pi * progress / peak)) / 2
    return final + (1 - final) * (1 + cos(pi * (progress - peak) / (1 - peak))) / 2
