"""Figures of a column of numbers over the training rows: missing cells, range, mean and deviation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Figures:
    """The count of numbers and of missing ones, and over the numbers their range, mean and deviation.

    Without numbers the others are nan. The deviation is that of the population.
    """

    count: int
    missing: int
    low: float = math.nan
    high: float = math.nan
    mean: float = math.nan
    deviation: float = math.nan

    @classmethod
    def of(cls, values: np.ndarray, weights: np.ndarray | None = None) -> Figures:
        """The figures of numbers (n,), of which nan is missing.

        With `weights` (n,) mean and deviation are weighted; rows of weight 0 are none, unless all are.
        """
        if weights is not None and (weights > 0).any():
            values, weights = values[weights > 0], weights[weights > 0]
        values = values.astype(np.float64, copy=False)
        is_missing = np.isnan(values)
        missing = int(is_missing.sum())
        there = values[~is_missing] if missing else values
        if not len(there):
            return cls(0, missing)
        low, high = float(there.min()), float(there.max())
        if weights is None:
            return cls(len(there), missing, low, high, float(there.mean()), float(there.std()))
        each = weights[~is_missing].astype(np.float64, copy=False)
        mean = float(np.average(there, weights=each))
        deviation = math.sqrt(np.average(np.square(there - mean), weights=each))
        return cls(len(there), missing, low, high, mean, deviation)

    @property
    def is_constant(self) -> bool:
        """True if all numbers are the same."""
        return self.low == self.high


def median(values: np.ndarray, weights: np.ndarray) -> float:
    """The median of numbers (n,), of which nan is missing, with weights (n,); nan if there is none.

    As `numpy.nanmedian` of numbers that stand there as often as their weights say.
    """
    is_there = ~np.isnan(values)
    values, weights = values[is_there], weights[is_there]
    order = np.argsort(values, kind="stable")
    sums = np.cumsum(weights[order], dtype=np.float64)
    if not len(sums):
        return math.nan
    last = len(sums) - 1
    # It is the mean of two numbers if half of the weight lies between them; rounding may miss that.
    low, high = (np.searchsorted(sums, sums[-1] * (0.5 + step)) for step in (-1e-12, 1e-12))
    return float((values[order[min(low, last)]] + values[order[min(high, last)]]) / 2)
