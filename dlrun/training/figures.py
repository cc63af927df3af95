"""The figures of several seeds: means and spreads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any


def spread(values: Sequence[float]) -> float | None:
    """The sample standard deviation over seeds; None for one seed."""
    return stdev(values) if len(values) > 1 else None


def summarised(figures: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """Each column's mean and standard deviation over seeds, with the values of the seeds."""
    return {
        column: {"mean": fmean(values), "sd": spread(values), "values": list(values)}
        for column, values in figures.items()
    }
