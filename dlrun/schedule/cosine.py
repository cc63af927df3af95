"""A learning rate with linear warm-up and cosine decay."""

from __future__ import annotations

from math import cos, pi

from dlrun.blocks.epochs import share_of_run
from dlrun.config.options import Fraction, NonNegative


def cosine(
    progress: float,
    epochs: int,
    *,
    warmup: Fraction = 0.0,
    warmup_epochs: NonNegative | None = None,
    final: NonNegative = 0.0,
) -> float:
    """Linear warm-up to 1, then cosine decay.

    `progress` goes from 0 to 1 over the `epochs` of the run. Source: Loshchilov and Hutter 2016, arXiv
    1608.03983.

    Args:
        warmup: Share of the run in which the rate rises from 0 to its full value.
        warmup_epochs: Length of that rise in epochs, in place of `warmup`; null: `warmup` counts.
        final: Multiple of the learning rate at the end of the run.
    """
    if warmup_epochs is not None:
        warmup = share_of_run("warmup", warmup_epochs, epochs, is_free=not warmup)
    if progress < warmup:
        return progress / warmup
    return final + (1 - final) * (1 + cos(pi * (progress - warmup) / (1 - warmup))) / 2
