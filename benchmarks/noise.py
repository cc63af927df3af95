"""How noisy the machine is while it is measured: the same fixed work, again and again between contestants."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import quantiles
from time import perf_counter

LEAST = 4  # measurements from which a spread is told
QUIET = 0.10  # the spread up to which a machine is quiet
_ADDITIONS, _BYTES = 400_000, 32 * 2**20  # about 20 ms of Python, and of memory that no cache holds


class Noise:
    """The seconds of the fixed work, each time it was done since `begin`."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def begin(self) -> None:
        """Forget what was measured before."""
        self.seconds = []

    def sample(self) -> None:
        """Do the fixed work once: additions, and copies in memory."""
        started = perf_counter()
        total = 0
        for number in range(_ADDITIONS):
            total += number
        block = bytearray(_BYTES)
        for _ in range(2):
            block = bytearray(block)
        self.seconds.append(perf_counter() - started)


NOISE = Noise()


def spread(seconds: Sequence[float]) -> float | None:
    """The width of the middle half of some seconds, as a share of their median; None of too few."""
    if len(seconds) < LEAST:
        return None
    low, middle, high = quantiles(seconds, n=4, method="inclusive")
    return (high - low) / middle


def said(seconds: Sequence[float]) -> str:
    """A sentence on the spread, or "" of too few measurements."""
    found = spread(seconds)
    if found is None:
        return ""
    is_quiet = "quiet" if found <= QUIET else "noisy"
    return (
        f"The machine was {is_quiet}: the same fixed work, done {len(seconds)} times in between, took "
        f"{min(seconds) * 1e3:.0f} to {max(seconds) * 1e3:.0f} ms, its middle half within {found:.0%}."
    )
