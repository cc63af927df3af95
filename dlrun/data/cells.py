"""The cells of a table as numbers, texts and dates, and those among them that hold nothing or nonsense."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import nsmallest

import torch
from torch import Tensor

from dlrun.data.csv_files import MISSING, Table, number

START = datetime(1970, 1, 1, tzinfo=UTC)
SHOWN = 3  # of so many mistakes the places are named


@dataclass
class Cells:
    """Some columns of some rows of a table, parsed.

    `lines` are those of the file `source` on which the rows begin. Numbers (n,) are nan and texts ""
    where there is none; `date` (n,) is in seconds since 1970.
    """

    source: str
    lines: list[int]
    numbers: dict[str, Tensor] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    date: Tensor | None = None
    trouble: dict[tuple[int, str], str] = field(default_factory=dict)  # (row, column) -> what it holds

    def __len__(self) -> int:
        return len(self.lines)

    def read_numbers(self, table: Table, column: str) -> None:
        values = array("d")
        for row, text in enumerate(table.column(column)):
            try:
                value = number(text)
            except ValueError:
                value = None
            if value is None:
                self.trouble[row, column] = text
            values.append(math.nan if value is None else value)
        self.numbers[column] = torch.frombuffer(values, dtype=torch.float64).clone()

    def read_texts(self, table: Table, column: str) -> None:
        self.texts[column] = ["" if text in MISSING else text for text in table.column(column)]
        self.trouble |= {(row, column): "" for row, text in enumerate(self.texts[column]) if not text}

    def read_dates(self, table: Table, columns: Sequence[str]) -> None:
        """From one column of ISO 8601, or from year, month and day."""
        seconds = array("q")
        for row, texts in enumerate(zip(*map(table.column, columns), strict=True)):
            try:
                seconds.append((_moment(texts) - START) // timedelta(seconds=1))
            except ValueError:
                seconds.append(0)
                whole = len(texts) > 1 and all(map(_is_whole, texts))  # but no day of any year
                place = next((i for i, text in enumerate(texts) if not _is_whole(text)), 0)
                column, text = (columns[-1], "-".join(texts)) if whole else (columns[place], texts[place])
                self.trouble[row, column] = text
        self.date = torch.frombuffer(seconds, dtype=torch.int64).clone()

    def take(self, rows: Sequence[int]) -> Cells:
        """Some of the rows, in the order given; what was wrong with them is dealt with."""
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
        """What the rows are called: by their dates where these tell them apart, else `row 2`."""
        if self.date is None or len(self.date.unique()) < len(self.date):
            return [f"row {line}" for line in self.lines]
        moments = [START + timedelta(seconds=value) for value in self.date.tolist()]
        are_days = not bool((self.date % 86400).any())
        return [str(moment.date() if are_days else moment.replace(tzinfo=None)) for moment in moments]


def in_order(texts: Iterable[str]) -> tuple[str, ...]:
    """The different texts, without "": by size where all are numbers, else as text."""
    different = {text for text in texts if text}
    try:
        return tuple(sorted(different, key=lambda text: (number(text) or 0.0, text)))
    except ValueError:
        return tuple(sorted(different))


def _moment(texts: Sequence[str]) -> datetime:
    """The moment that one ISO 8601 text, or a year, a month and a day name; UTC where none is said."""
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
