"""The learning rate as it is."""

from __future__ import annotations


def constant(progress: float) -> float:
    """Always 1. `progress` goes from 0 to 1 over the run."""
    return 1.0
