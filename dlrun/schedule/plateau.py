"""A learning rate that drops where the monitored figure no longer improves."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from dlrun.config.options import Count, Fraction, NonNegative, NonNegativeInt, Positive


def plateau(
    progress: float,
    figures: Sequence[float],
    *,
    factor: Positive = 0.1,
    patience: Count = 10,
    threshold: Fraction = 1e-4,
    cooldown: NonNegativeInt = 0,
    lowest: NonNegative = 0.0,
) -> float:
    """Multiply by `factor` whenever the figure has not improved for more than `patience` measurements.

    `figures` are those of the monitored column so far, smaller ones better. One counts as better if it is
    below the best by the share `threshold`. After a drop, `cooldown` measurements are not counted. The
    multiplier stays at `lowest` or more. As torch's ReduceLROnPlateau.
    """
    best, bad, waiting, multiplier = inf, 0, 0, 1.0
    for figure in figures:
        if figure < best - threshold * abs(best) if best < inf else figure < best:
            best, bad = figure, 0
        else:
            bad += 1
        if waiting:
            waiting, bad = waiting - 1, 0
        if bad > patience:
            multiplier, waiting, bad = max(lowest, multiplier * factor), cooldown, 0
    return multiplier
