"""Means and standard deviations of figures over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from statistics import fmean, stdev
from typing import Any


def spread(values: Sequence[float]) -> float | None:
    """The sample standard deviation over seeds, nan if a value is not finite; None for a single seed."""
    if len(values) < 2:
        return None
    return stdev(values) if all(map(isfinite, values)) else nan


def summarised(figures: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """For each column its mean, standard deviation and values over seeds."""
    return {
        column: {"mean": fmean(values), "sd": spread(values), "values": list(values)}
        for column, values in figures.items()
    }
