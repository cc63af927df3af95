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
    """Step decay: multiplied by `factor` each time the share `every` of the run has passed.

    `every_epochs` gives the interval in epochs instead. `progress` goes from 0 to 1 over the `epochs` of the
    run.
    """
    if every_epochs is not None:
        every = share_of_run("every", every_epochs, epochs, is_free=every == 0.25)
    return float(factor ** int(progress / every + 1e-9))  # because 0.3 / 0.1 rounds to less than 3
