"""Shared code of plots over dates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from dlrun.data.examples import Data, Split
from dlrun.drawing.style import TEXT

Numbers = np.ndarray[Any, np.dtype[Any]]
Dates = np.ndarray[Any, np.dtype[np.datetime64]]


def dates_of(split: Split, target: int | slice = 0) -> Dates | None:
    """The date of each example, (n,), or of some of its targets; None if the data has no dates."""
    if "date" not in split.aside:
        return None
    dates = split.aside["date"]
    return (dates[:, target] if dates.dim() > 1 else dates).numpy().astype("datetime64[s]")


def series_of(split: Split) -> Numbers:
    """The number of the series that each example is of, (n,); all 0 if the data names none."""
    return split.aside["series"].numpy() if "series" in split.aside else np.zeros(len(split), np.int64)


def rows_of_series(data: Data, split: Split) -> dict[str, Numbers]:
    """The places (m,) of the examples of each series of a split, by its name; "" if the data names none."""
    if "series" not in split.aside:
        return {"": np.arange(len(split))}
    numbers, found = series_of(split), dict[str, Numbers]()
    for number in np.unique(numbers).tolist():
        name = data.name_of_series(number) if data.name_of_series else f"series {number}"
        found[name] = np.flatnonzero(numbers == number)
    return found


def apart(steps: Numbers, places: Numbers, values: Numbers) -> tuple[Numbers, Numbers]:
    """A line of values (n,) over places (n,) that breaks wherever the ascending steps (n,) leave one out."""
    gaps = np.flatnonzero(np.diff(steps) != 1) + 1
    return np.insert(places, gaps, places[gaps]), np.insert(values, gaps, np.nan)


def date_axis(axes: Axes, least: int = 3, most: int = 8) -> None:
    """Label the x axis, in days since 1970, with few, short dates: what all lack stands below the first."""
    locator = AutoDateLocator(minticks=least, maxticks=most)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(FromTheFirst(locator))  # type: ignore[no-untyped-call]
    axes.xaxis.get_offset_text().set(x=0, horizontalalignment="left", fontsize=TEXT)


class FromTheFirst(ConciseDateFormatter):
    """Short dates, of which the first is completed, such as by its month; later ones say where it changes."""

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        # matplotlib completes the last tick, which may be of the next month
        labels = super().format_ticks(list(values)[::-1])  # type: ignore[no-untyped-call]
        return list(labels)[::-1]
