"""Durations in configs and on the command line: 45s, 90m, 1h30m, 2d, 3:50:00 or 1-12:00:00, as seconds."""

from __future__ import annotations

import re

_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])", re.ASCII)
# sbatch also takes 90 and 3:50, as minutes and as minutes and seconds; most people mean something else.
_CLOCK = re.compile(r"(?:(\d+)-(?=\d\d?:))?(\d+):([0-5]\d):([0-5]\d)", re.ASCII)
# The same as one pattern, for JSON Schema; (?=.*[1-9]) makes it more than 0.
PATTERN = (
    r"^(?=.*[1-9])(([0-9]+(\.[0-9]+)?d)?([0-9]+(\.[0-9]+)?h)?([0-9]+(\.[0-9]+)?m)?([0-9]+(\.[0-9]+)?s)?"
    r"|([0-9]+-(?=[0-9]{1,2}:))?[0-9]+:[0-5][0-9]:[0-5][0-9])$"
)


def seconds_of(text: str) -> float:
    """The seconds of a duration: units from the longest to the shortest, or H:MM:SS, or D-HH:MM:SS.

    Raises ValueError for anything else.
    """
    if clock := _CLOCK.fullmatch(text):
        days, hours, minutes, seconds = (int(number or 0) for number in clock.groups())
        return 86400.0 * days + 3600.0 * hours + 60.0 * minutes + seconds
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
