"""Durations in configs: 45s, 90m, 1h30m or 2d, as seconds."""

from __future__ import annotations

import re

_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])", re.ASCII)


def seconds_of(text: str) -> float:
    """The seconds of a duration, whose units go from the longest to the shortest. Raises ValueError."""
    parts = _PART.findall(text)
    units = [unit for _, unit in parts]
    is_whole = "".join(number + unit for number, unit in parts) == text
    if not is_whole or units != sorted({*units}, key="dhms".index):
        raise ValueError(f"{text!r} is no duration")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def is_duration(text: str) -> bool:
    """True for a duration of more than 0 seconds."""
    try:
        return seconds_of(text) > 0
    except ValueError:
        return False
