"""The cells of a table parsed as numbers, texts and dates, with the missing and unreadable ones noted."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import nsmallest

import numpy as np
import torch
from torch import Tensor

from dlrun.data.columns import MISSING, number, plain_number
from dlrun.data.tables import Table

START = datetime(1970, 1, 1, tzinfo=UTC)
SHOWN = 3  # mistakes whose places a message names


@dataclass
class Cells:
    """Some columns of some rows of a table, parsed.

    `lines` are the line numbers of the file `source` on which the rows begin. A missing number in (n,) is
    nan, a missing text ""; `date` (n,) is in seconds since 1970.
    """

    source: str
    lines: list[int]
    numbers: dict[str, Tensor] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    date: Tensor | None = None
    trouble: dict[tuple[int, str], str] = field(default_factory=dict)  # (row, column) -> the cell's text

    def __len__(self) -> int:
        return len(self.lines)

    def read_numbers(self, table: Table, column: str) -> None:
        read = table.columns[column].as_numbers(plain_number)
        assert read.numbers is not None, "it was read as numbers"
        self.trouble |= {(row, column): "" for row in np.flatnonzero(read.missing).tolist()}
        self.trouble |= {(row, column): text for row, text in read.odd.items()}
        self.numbers[column] = torch.from_numpy(read.numbers)

    def read_texts(self, table: Table, column: str) -> None:
        self.texts[column] = table.column(column)
        self.trouble |= {(row, column): "" for row, text in enumerate(self.texts[column]) if not text}

    def read_dates(self, table: Table, columns: Sequence[str]) -> None:
        """Parse dates from one column of ISO 8601, or from columns with year, month and day."""
        seconds = array("q")
        for row, texts in enumerate(zip(*map(table.column, columns), strict=True)):
            try:
                seconds.append((_moment(texts) - START) // timedelta(seconds=1))
            except ValueError:
                seconds.append(0)
                whole = len(texts) > 1 and all(map(_is_whole, texts))  # whole numbers, but not a valid date
                place = next((i for i, text in enumerate(texts) if not _is_whole(text)), 0)
                column, text = (columns[-1], "-".join(texts)) if whole else (columns[place], texts[place])
                self.trouble[row, column] = text
        self.date = torch.frombuffer(seconds, dtype=torch.int64).clone()

    def take(self, rows: Sequence[int]) -> Cells:
        """The cells of some rows, in the order given, without their notes of trouble."""
        indices = torch.tensor(rows, dtype=torch.long)
        return Cells(
            self.source,
            [self.lines[row] for row in rows],
            {column: values[indices] for column, values in self.numbers.items()},
            {column: [values[row] for row in rows] for column, values in self.texts.items()},
            None if self.date is None else self.date[indices],
        )

    def said(self, trouble: Mapping[tuple[int, str], str]) -> str:
        """`2 cells are missing: a in row 5, b in row 7; 1 cell is unreadable: a in row 9 ('?')`."""
        parts = []
        for called, hold_nothing in (("missing", True), ("unreadable", False)):
            those = [place for place, text in trouble.items() if (text in MISSING) == hold_nothing]
            if those:
                places = []
                for row, column in nsmallest(SHOWN, those):
                    held = "" if hold_nothing else f" ({trouble[row, column][:40]!r})"
                    places.append(f"{column} in row {self.lines[row]}{held}")
                count = "1 cell is" if len(those) == 1 else f"{len(those):,} cells are"
                more = ", …" if len(those) > SHOWN else ""
                parts.append(f"{count} {called}: {', '.join(places)}{more}")
        return "; ".join(parts)

    def names(self) -> list[str]:
        """Names for the rows: their dates if these are unique, else `row 2`, …"""
        if self.date is None or len(self.date.unique()) < len(self.date):
            return [f"row {line}" for line in self.lines]
        return said_dates(self.date)


def said_dates(dates: Tensor) -> list[str]:
    """Dates (n,) in seconds since 1970 as texts: `2016-01-31`, or with the time if one is not at midnight."""
    moments = [START + timedelta(seconds=value) for value in dates.tolist()]
    are_days = not bool((dates % 86400).any())
    return [str(moment.date() if are_days else moment.replace(tzinfo=None)) for moment in moments]


def in_order(texts: Iterable[str]) -> tuple[str, ...]:
    """The distinct texts without "", sorted as numbers if all are numbers, else as text."""
    different = {text for text in texts if text}
    try:
        return tuple(sorted(different, key=lambda text: (number(text) or 0.0, text)))
    except ValueError:
        return tuple(sorted(different))


def _moment(texts: Sequence[str]) -> datetime:
    """The time that an ISO 8601 text, or year, month and day denote; UTC unless the text has a zone."""
    try:
        if len(texts) == 1:
            moment = datetime.fromisoformat(texts[0])
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        if not all(map(_is_whole, texts)):
            raise ValueError("no whole numbers")
        year, month, day = (int(number(text) or 0) for text in texts)
        return datetime(year, month, day, tzinfo=UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from None


def _is_whole(text: str) -> bool:
    try:
        value = number(text)
    except ValueError:
        return False
    return value is not None and value.is_integer()
