"""A learning rate that drops by a factor at regular intervals."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Gt, Le

from dlrun.config.options import Positive


def step(progress: float, *, every: Annotated[float, Gt(0), Le(1)] = 0.25, factor: Positive = 0.1) -> float:
    """Step decay: multiplied by `factor` each time the share `every` of the run has passed.

    `progress` goes from 0 to 1 over the run.
    """
    return float(factor ** int(progress / every + 1e-9))  # because 0.3 / 0.1 rounds to less than 3
