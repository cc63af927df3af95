"""Means and standard deviations of figures over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any


def spread(values: Sequence[float]) -> float | None:
    """The sample standard deviation over seeds; None for a single seed."""
    return stdev(values) if len(values) > 1 else None


def summarised(figures: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """For each column its mean, standard deviation and values over seeds."""
    return {
        column: {"mean": fmean(values), "sd": spread(values), "values": list(values)}
        for column, values in figures.items()
    }
