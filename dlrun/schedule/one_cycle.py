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
    """From `start` up to 1 at the share `peak` of the run, then down to `final`, both along half cosines.

    `progress` goes from 0 to 1 over the run. Source: Smith and Topin 2017, arXiv 1708.07120.
    """
    if progress < peak:
        return 1 + (start - 1) * (1 + cos(pi * progress / peak)) / 2
    return final + (1 - final) * (1 + cos(pi * (progress - peak) / (1 - peak))) / 2
