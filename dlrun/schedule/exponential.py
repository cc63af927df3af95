"""A learning rate that falls by the same factor in every epoch."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Gt, Le


def exponential(progress: float, *, final: Annotated[float, Gt(0), Le(1)] = 0.01) -> float:
    """Exponential decay: the rate falls by the same factor over equal times.

    `progress` goes from 0 to 1 over the run.

    Args:
        final: Multiple of the learning rate at the end of the run.
    """
    return float(final**progress)
