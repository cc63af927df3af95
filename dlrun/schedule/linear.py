"""A learning rate that changes along a straight line."""

from __future__ import annotations

from dlrun.config.options import NonNegative


def linear(progress: float, *, start: NonNegative = 1.0, final: NonNegative = 0.0) -> float:
    """A straight line from `start` to `final`.

    `progress` goes from 0 to 1 over the run.

    Args:
        start: Multiple of the learning rate at the first step.
        final: Multiple of the learning rate at the end of the run.
    """
    return start + (final - start) * progress
