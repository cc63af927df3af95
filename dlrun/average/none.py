"""No averaged weights: a model is the weights that training ends with."""

from __future__ import annotations


def none(step: int) -> float:
    """Keep no averaged weights beside those that are trained.

    `step` is the number of steps so far, from 1.
    """
    return 0.0
