"""The type of a progress display, for code that runs long before training and imports no display."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Progress = Callable[[Iterable[Any], int, str], Iterable[Any]]  # items, how many, what is done -> the items


def no_progress(items: Iterable[Any], total: int, what: str) -> Iterable[Any]:
    """Return the items, with no progress shown."""
    return items
