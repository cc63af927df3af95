"""A learning rate that rises, stays and falls: a trapezoid."""

from __future__ import annotations

from dlrun.config.options import Fraction


def my_part(progress: float, *, warmup: Fraction = 0.1, cooldown: Fraction = 0.3) -> float:
    """A trapezoid: the learning rate rises linearly from 0 to 1, stays, and falls to 0.

    A schedule is `x(progress, *, …) -> float`. `progress` goes from 0 to 1 over the run, and dlrun multiplies
    `optimizer.lr` by the result. It remembers nothing, so that a resumed run has the same rates. Add a second
    parameter `epochs` to be given the length of the run.

    Args:
        warmup: Share of the run, at its start, in which the rate rises.
        cooldown: Share of the run, at its end, in which the rate falls.
    """
    rising = progress / warmup if warmup else 1.0
    falling = (1 - progress) / cooldown if cooldown else 1.0
    return min(1.0, rising, falling)
