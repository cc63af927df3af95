"""Numbers and dates of new rows far outside the training rows, where a model can only extrapolate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from dlrun.data.examples import FarValue
from dlrun.data.tabular.cells import SHOWN, Cells
from dlrun.data.tabular.column_figures import Figures
from dlrun.data.tabular.dates import said_dates

Range = tuple[float, float]  # the smallest and the largest number, or date in seconds since 1970, of training

# The far value and the range of training of each column of a row that has one, by the number of the row.
FarValues = dict[int, dict[str, FarValue]]

_MARGIN = 1.0  # in widths of the range: a new extreme is usual, one twice as far from the middle is not


def ranges_of(figures: Mapping[str, Figures], columns: Iterable[str]) -> dict[str, Range]:
    """The range of each column of numbers or dates that varies; of others a model has learnt nothing."""
    each = {column: figures[column] for column in columns if column in figures}
    return {column: (own.low, own.high) for column, own in each.items() if own.low < own.high}


def said_far(cells: Cells, ranges: Mapping[str, Range]) -> list[str]:
    """A note on the rows with far numbers, if there are any."""
    rows = FarRows()
    rows.add(far_values(cells, ranges), cells.lines)
    return [str(rows)] if rows.count else []


def far_values(cells: Cells, ranges: Mapping[str, Range]) -> FarValues:
    """The numbers and dates that lie beyond an end of their column's range by more than its width."""
    found: FarValues = {}
    for column, (low, high) in ranges.items():
        are_dates = column in cells.moments
        values = (cells.moments if are_dates else cells.numbers)[column].numpy()
        margin = _MARGIN * (high - low)
        for row in np.flatnonzero((values < low - margin) | (values > high + margin)).tolist():
            each = (float(values[row]), (low, high))
            found.setdefault(row, {})[column] = _as_dates(*each) if are_dates else each
    return found


def _as_dates(value: float, ends: Range) -> FarValue:
    """A moment and the range of training as texts, with the time unless all three are at midnight."""
    said, low, high = said_dates(torch.tensor([value, *ends], dtype=torch.float64).long())
    return said, (low, high)


@dataclass
class FarRows:
    """The rows with far numbers, added in the order of their file: their count, and the first few."""

    count: int = 0
    _first: list[str] = field(default_factory=list)

    def add(self, far: FarValues, lines: np.ndarray) -> None:
        """Add some of the rows that begin on the lines (n,)."""
        self.count += len(far)
        for row in sorted(far)[: SHOWN - len(self._first)]:
            column, (value, (low, high)) = next(iter(far[row].items()))
            said = f"{_said(value)}; training: {_said(low)} to {_said(high)}"
            self._first.append(f"{column} in row {lines[row]} ({said})")

    def __str__(self) -> str:
        lie, these = (
            ("row lies", "this prediction is") if self.count == 1 else ("rows lie", "these predictions are")
        )
        more = ", …" if self.count > SHOWN else ""
        places = ", ".join(self._first)
        return f"{self.count:,} {lie} far outside the training rows: {places}{more}: {these} extrapolated"


def _said(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.6g}"
