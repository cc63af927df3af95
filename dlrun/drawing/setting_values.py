"""The values of a setting as numbers and as labels in pictures of sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlrun.drawing.lines import run_labels
from dlrun.drawing.style import both_ends
from dlrun.run_folders.records import LARGEST, written
from dlrun.run_folders.setting_results import SettingResult

MANY_TIMES = 30  # ratio of largest to smallest value from which an axis is logarithmic


def spans_decades(values: Sequence[float]) -> bool:
    """True if sorted values span so much that the axis should be logarithmic."""
    return len(values) > 2 and values[0] > 0 and values[-1] / values[0] >= MANY_TIMES


def number_at(group: SettingResult, key: str) -> float:
    """A setting's value at a numeric key."""
    return as_number(group.shown[key]) or 0.0


def as_number(value: Any) -> float | None:
    """The number that a value or a list of one value is; None for others."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST:
        return float(value)
    return None


def words_of(group: SettingResult, keys: Sequence[str], longest: int = 30) -> str:
    """A label with the values of some keys."""
    if len(keys) == 1 and as_number(group.shown.get(keys[0])) is None:  # text needs no name before it
        return text_of(group.shown.get(keys[0]), longest)
    there = [key for key in keys if key in group.shown]
    named = ", ".join(f"{key.split('.', 1)[-1]} {plainly(group.shown[key])}" for key in there)
    if len(named) > longest:
        named = ", ".join(plainly(group.shown[key]) for key in there)
    return both_ends(named, longest)


def labels_of(groups: Sequence[SettingResult], keys: Sequence[str], longest: int) -> list[str]:
    """A label for each setting: the values of some keys, and its first run if others look alike."""
    values = [words_of(group, keys, longest) for group in groups]
    names = run_labels([group.runs[0] for group in groups])
    return [
        said if said and values.count(said) == 1 else f"{said} ({name})" if said else name
        for said, name in zip(values, names, strict=True)
    ]


def text_of(value: Any, longest: int = 24) -> str:
    """A value as short text that matplotlib can draw safely."""
    return both_ends(plainly(value), longest)


def plainly(value: Any) -> str:
    """A value as text, numbers with at most four digits."""
    number = as_number(value)
    return f"{number:.4g}" if number is not None else "none" if value is None else written(value)
