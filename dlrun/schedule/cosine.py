"""A learning rate with linear warm-up and cosine decay."""

from __future__ import annotations

from math import cos, pi

from dlrun.config.options import Fraction, NonNegative


def cosine(progress: float, *, warmup: Fraction = 0.0, final: NonNegative = 0.0) -> float:
    """Linear warm-up to 1 over the share `warmup` of the run, then cosine decay to `final`.

    `progress` goes from 0 to 1 over the run. Source: Loshchilov and Hutter 2016, arXiv 1608.03983.
    """
    if progress < warmup:
        return progress / warmup
    return final + (1 - final) * (1 + cos(pi * (progress - warmup) / (1 - warmup))) / 2
