"""A learning rate that falls along half a cosine and starts anew, several times."""

from __future__ import annotations

from math import cos, pi
from typing import Annotated

from annotated_types import Ge

from dlrun.config.options import Few, Fraction


def warm_restarts(
    progress: float, *, cycles: Few = 4, grow: Annotated[float, Ge(1)] = 1.0, final: Fraction = 0.0
) -> float:
    """Cosine decay in several cycles, each from the full rate (SGDR).

    `progress` goes from 0 to 1 over the run. Source: Loshchilov and Hutter 2016, arXiv 1608.03983.

    Args:
        cycles: Cycles in the run.
        grow: Factor by which each cycle is longer than the one before.
        final: Multiple of the learning rate at the end of a cycle.
    """
    lengths = [grow**cycle for cycle in range(cycles)]
    left = progress * sum(lengths)
    for length in lengths[:-1]:
        if left < length - 1e-9:
            break
        left -= length
    else:
        length = lengths[-1]
    return final + (1 - final) * (1 + cos(pi * left / length)) / 2
