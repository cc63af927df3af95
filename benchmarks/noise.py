"""The noise of the machine while it is measured: the same fixed work, again and again between contestants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import quantiles
from time import perf_counter
from typing import Any

FIXED_WORK = "fixed_work"  # the figure of a contestant: the seconds of the work before it ran
LEAST = 4  # measurements from which a spread is told
QUIET = 0.10  # the spread up to which a machine is quiet
_ADDITIONS, _BYTES = 400_000, 32 * 2**20  # about 20 ms of Python, and of memory that no cache holds


def fixed_work() -> float:
    """The seconds of additions and of copies in memory."""
    started = perf_counter()
    total = 0
    for number in range(_ADDITIONS):
        total += number
    block = bytearray(_BYTES)
    for _ in range(2):
        block = bytearray(block)
    return perf_counter() - started


def seconds_in(found: Mapping[str, Any]) -> list[float]:
    """The seconds of the fixed work before each contestant, of what a section measured in rounds."""
    rounds = found.get("rounds", ())
    figures = [own for each in rounds if isinstance(each, dict) for own in each.values()]
    return [own[FIXED_WORK] for own in figures if isinstance(own, dict) and FIXED_WORK in own]


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
