"""A learning rate that rises, stays and falls: a trapezoid."""

from __future__ import annotations

from dlrun.config.options import Fraction


def my_part(progress: float, *, warmup: Fraction = 0.1, cooldown: Fraction = 0.3) -> float:
    """Linear from 0 to 1 over the share `warmup` of the run, and to 0 over the share `cooldown` at its end.

    A schedule is `x(progress, *, …) -> float`. `progress` goes from 0 to 1 over the run, and dlrun multiplies
    `optimizer.lr` by the result. It remembers nothing, so that a resumed run has the same rates. Add a second
    parameter `epochs` to be given the length of the run.
    """
    rising = progress / warmup if warmup else 1.0
    falling = (1 - progress) / cooldown if cooldown else 1.0
    return min(1.0, rising, falling)
