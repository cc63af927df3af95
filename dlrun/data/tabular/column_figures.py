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
    def of(cls, values: np.ndarray) -> Figures:
        """The figures of numbers (n,), of which nan is missing."""
        values = values.astype(np.float64, copy=False)
        is_missing = np.isnan(values)
        missing = int(is_missing.sum())
        there = values[~is_missing] if missing else values
        if not len(there):
            return cls(0, missing)
        low, high, mean = float(there.min()), float(there.max()), float(there.mean())
        return cls(len(there), missing, low, high, mean, float(there.std()))

    @property
    def is_constant(self) -> bool:
        """True if all numbers are the same."""
        return self.low == self.high
