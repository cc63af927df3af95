"""A learning rate that drops by a factor at regular intervals."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Gt, Le

from dlrun.blocks.epochs import share_of_run
from dlrun.config.options import Positive


def step(
    progress: float,
    epochs: int,
    *,
    every: Annotated[float, Gt(0), Le(1)] = 0.25,
    every_epochs: Positive | None = None,
    factor: Positive = 0.1,
) -> float:
    """Step decay: the learning rate drops by a factor at regular intervals.

    `progress` goes from 0 to 1 over the `epochs` of the run.

    Args:
        every: Share of the run from one drop to the next.
        every_epochs: Epochs from one drop to the next, in place of `every`; null: `every` counts.
        factor: Multiple of the rate that is left at each drop.
    """
    if every_epochs is not None:
        every = share_of_run("every", every_epochs, epochs, is_free=every == 0.25)
    return float(factor ** int(progress / every + 1e-9))  # because 0.3 / 0.1 rounds to less than 3
