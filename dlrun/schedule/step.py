"""Down by a factor after every so much of the run."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Gt, Le

from dlrun.config.options import Positive


def step(progress: float, *, every: Annotated[float, Gt(0), Le(1)] = 0.25, factor: Positive = 0.1) -> float:
    """`factor` to the power of how often the share `every` of the run has passed.

    `progress` goes from 0 to 1 over the run.
    """
    return float(factor ** int(progress / every + 1e-9))  # 0.3 / 0.1 is a little less than 3
