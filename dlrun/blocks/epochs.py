"""Options of schedules in epochs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def rising(
    warmup: float, schedule: Callable[..., float], progress: float, *more: Any, **by_name: Any
) -> float:
    """The multiplier of a `schedule`, times a rise from 0 to 1 over the first share `warmup` of the run."""
    return min(1.0, progress / warmup) * schedule(progress, *more, **by_name)


def share_of_run(option: str, epochs: float, planned: int, *, is_free: bool) -> float:
    """The share of a run of `planned` epochs that some epochs are, given as the option {option}_epochs.

    Raises ValueError if it is all of the run, or if `option` gives the share as well (`is_free` is False).
    """
    if not is_free:
        raise ValueError(f"{option} and {option}_epochs say the same in two ways; leave one of them out")
    if epochs >= planned:
        raise ValueError(f"{option}_epochs: {epochs:g} is no part of {planned} epochs")
    return epochs / planned
