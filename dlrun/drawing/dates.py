"""Shared code of plots over dates."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from dlrun.data.examples import Split

Dates = np.ndarray[Any, np.dtype[np.datetime64]]


def dates_of(split: Split) -> Dates | None:
    """The date of each example, (n,); None if the data has no dates."""
    if "date" not in split.aside:
        return None
    return split.aside["date"].numpy().astype("datetime64[s]")


def date_axis(axes: Axes) -> None:
    """Label the x axis with few, short dates."""
    locator = AutoDateLocator(minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
