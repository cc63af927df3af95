"""A learning rate that falls by a power of what is left of the run."""

from __future__ import annotations

from dlrun.config.options import NonNegative, Positive


def polynomial(progress: float, *, power: Positive = 2.0, final: NonNegative = 0.0) -> float:
    """Polynomial decay: a power of the share of the run that is left.

    `progress` goes from 0 to 1 over the run.

    Args:
        power: Power of that share: 1 is a straight line, more falls faster at first.
        final: Multiple of the learning rate at the end of the run.
    """
    return float(final + (1 - final) * (1 - progress) ** power)
