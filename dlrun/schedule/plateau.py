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
    """Multiply the learning rate by a factor whenever the monitored figure has not improved for long.

    `figures` are those of the monitored column so far, smaller ones better. As torch's ReduceLROnPlateau.

    Args:
        factor: Multiple of the rate that is left at each drop.
        patience: Measurements without a better figure that are waited for; one more, and the rate drops.
        threshold: Share by which a figure has to be below the best to count as better.
        cooldown: Measurements after a drop that are not counted.
        lowest: Multiple of the learning rate below which it never drops.
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
