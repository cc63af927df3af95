"""A constant learning rate."""

from __future__ import annotations


def constant(progress: float) -> float:
    """A constant learning rate: the multiplier is always 1. `progress` goes from 0 to 1 over the run."""
    return 1.0
