"""The cells of a table parsed as numbers, texts and dates, with the missing and unreadable ones noted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from dlrun.data.table_files.columns import Column, number, plain_number
from dlrun.data.table_files.tables import Table
from dlrun.data.tabular.column_figures import Figures
from dlrun.data.tabular.dates import said_dates, seconds_of
from dlrun.data.tabular.number_readings import NumberReading

SHOWN = 3  # mistakes whose places a message names


@dataclass(frozen=True)
class Trouble:
    """The rows (m,) of missing cells, and the texts of unreadable ones by their rows, for each column."""

    missing: Mapping[str, np.ndarray] = field(default_factory=dict)
    odd: Mapping[str, Mapping[int, str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any(map(len, self.missing.values())) or any(self.odd.values())

    def __iter__(self) -> Iterator[str]:
        """The columns that have such cells."""
        return (column for column in {**self.missing, **self.odd} if self.of([column]))

    def __len__(self) -> int:
        """The number of such cells."""
        return sum(map(len, (*self.missing.values(), *self.odd.values())))

    def rows(self) -> np.ndarray:
        """The rows (k,) that have such a cell, in order."""
        each = [*self.missing.values(), *(np.array(list(texts), np.int64) for texts in self.odd.values())]
        return np.unique(np.concatenate([np.empty(0, np.int64), *each]))

    def of(self, columns: Collection[str]) -> Trouble:
        """Those of some columns."""
        return Trouble(
            {column: rows for column, rows in self.missing.items() if column in columns},
            {column: texts for column, texts in self.odd.items() if column in columns},
        )

    def among(self, chosen: np.ndarray) -> Trouble:
        """Those in the rows where `chosen` (n,) is True."""
        return Trouble(
            {column: rows[chosen[rows]] for column, rows in self.missing.items()},
            {
                column: {row: text for row, text in texts.items() if chosen[row]}
                for column, texts in self.odd.items()
            },
        )


class NumbersOf(Mapping[str, Tensor]):
    """The numbers (n,) of columns, each read when it is asked for: a large table's lie in a file."""

    def __init__(self) -> None:
        self.columns: dict[str, Column] = {}

    def __getitem__(self, name: str) -> Tensor:
        numbers = self.columns[name].numbers
        assert numbers is not None, "it was read as numbers"
        return torch.from_numpy(numbers)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)


class TakenRows(Mapping[str, Tensor]):
    """Some rows of columns, looked up when they are asked for, so that there is no copy of all."""

    def __init__(self, columns: Mapping[str, Tensor], indices: Tensor) -> None:
        self._columns, self._indices = columns, indices

    def __getitem__(self, name: str) -> Tensor:
        return self._columns[name][self._indices]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


@dataclass
class TroubleSaid:
    """Missing and unreadable cells in words, gathered from rows that follow each other.

    `columns` are those that have such cells, in the order of their first ones.
    """

    columns: dict[str, None] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)
    _places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, trouble: Trouble, lines: np.ndarray) -> None:
        """Add those of rows that begin on some lines (n,)."""
        missing = [
            (row, column, "") for column, rows in trouble.missing.items() for row in rows[:SHOWN].tolist()
        ]
        odd = [(row, column, text) for column, texts in trouble.odd.items() for row, text in _first(texts)]
        self.columns |= dict.fromkeys(trouble)
        for called, those, every in (("missing", missing, trouble.missing), ("unreadable", odd, trouble.odd)):
            self._counts[called] += sum(map(len, every.values()))
            places = self._places.setdefault(called, [])
            for row, column, text in nsmallest(SHOWN - len(places), those):
                held = f" ({text[:40]!r})" if text else ""
                places.append(f"{column} in row {lines[row]}{held}")

    def __str__(self) -> str:
        """`2 cells are missing: a in row 5, b in row 7; 1 cell is unreadable: a in row 9 ('?')`."""
        parts = []
        for called, n in self._counts.items():
            if n:
                count = "1 cell is" if n == 1 else f"{n:,} cells are"
                more = ", …" if n > SHOWN else ""
                parts.append(f"{count} {called}: {', '.join(self._places[called])}{more}")
        return "; ".join(parts)


@dataclass
class Cells:
    """Some columns of some rows of a table, parsed.

    `lines` (n,) are the line numbers of the file `source` on which the rows begin, `rows` (n,) their numbers
    in the table, and `keys` (n,) identify what they hold. A missing number in (n,) is nan; `date` (n,) is in
    seconds since 1970, and so are the `moments` (n,) of dates that are inputs, nan where they are missing.
    `parts` (n,) int8 has the split that the file of a row is for: 0 train, 1 valid, 2 test, -1 open.
    `without_past` has the reason for each row that lags find no earlier value for, `guesses` (n, d) those of
    a baseline from earlier values, nan where there are none.
    """

    source: str
    lines: np.ndarray
    numbers: Mapping[str, Tensor] = field(default_factory=NumbersOf)
    texts: dict[str, Column] = field(default_factory=dict)
    date: Tensor | None = None
    moments: Mapping[str, Tensor] = field(default_factory=dict)
    parts: np.ndarray | None = None
    rows: np.ndarray | None = None
    keys: Tensor | None = None
    trouble: Trouble = field(default_factory=Trouble)
    without_past: Mapping[int, str] = field(default_factory=dict)
    guesses: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, table: Table) -> Cells:
        """No column yet of the rows of a table."""
        lines = np.asarray(table.lines)
        short = np.int32 if lines.max(initial=0) < 2**31 else np.int64
        rows = np.arange(len(table), dtype=short)
        return cls(table.source, lines.astype(short), parts=table.parts, rows=rows)

    def __len__(self) -> int:
        return len(self.lines)

    def read_numbers(self, table: Table, column: str, reading: NumberReading | None = None) -> None:
        """Parse numbers by a reading, or plain ones alone."""
        read = table.columns[column].as_numbers(reading.read if reading else plain_number)
        assert isinstance(self.numbers, NumbersOf), "these are not some rows of others"
        self._note(column, read.missing, read.odd)
        self.numbers.columns[column] = read

    def add_numbers(self, column: str, values: np.ndarray, is_missing: np.ndarray) -> None:
        """Add computed numbers (n,) as a column, of which some (n,) are noted as missing."""
        assert isinstance(self.numbers, NumbersOf), "these are not some rows of others"
        self._note(column, is_missing)
        self.numbers.columns[column] = Column(values)

    def read_texts(self, table: Table, column: str) -> None:
        self.texts[column] = table.columns[column].as_texts()
        self._note(column, self.texts[column].missing)

    def read_dates(self, table: Table, columns: Sequence[str], date_format: str = "") -> None:
        """Parse dates from one column, of ISO 8601 or the format, or from columns of year, month and day."""
        if len(columns) == 1:
            moments = self._read_moments(table, columns[0], date_format)
            self.date = torch.from_numpy(np.nan_to_num(moments).astype(np.int64))
            return
        seconds, odd = np.zeros(len(self), np.int64), dict[str, dict[int, str]]()
        for row, texts in enumerate(zip(*map(table.column, columns), strict=True)):
            try:
                seconds[row] = seconds_of(texts)
            except ValueError:
                whole = all(map(_is_whole, texts))  # whole numbers, but not a valid date
                place = next((i for i, text in enumerate(texts) if not _is_whole(text)), 0)
                column, text = (columns[-1], "-".join(texts)) if whole else (columns[place], texts[place])
                odd.setdefault(column, {})[row] = text
        for column, cells in odd.items():
            is_missing = np.zeros(len(self), bool)
            is_missing[[row for row, text in cells.items() if not text]] = True
            self._note(column, is_missing, {row: text for row, text in cells.items() if text})
        self.date = torch.from_numpy(seconds)

    def read_moments(self, table: Table, column: str, date_format: str) -> None:
        """Parse dates of one column that are inputs."""
        moments = torch.from_numpy(self._read_moments(table, column, date_format))
        self.moments = {**self.moments, column: moments}

    def _read_moments(self, table: Table, column: str, date_format: str) -> np.ndarray:
        read = table.columns[column].as_texts().as_numbers(lambda text: seconds_of([text], date_format))
        assert read.numbers is not None, "it was read as numbers"
        self._note(column, read.missing, read.odd)
        return read.numbers

    def column(self, name: str, written: Column, date: Sequence[str] = ()) -> Column:
        """The values of a column, with dates as numbers; as it is `written` if it was not parsed."""
        if name in self.moments or [name] == list(date):
            moments = self.moments.get(name, self.date)
            assert moments is not None, "dates were read"
            return Column(moments.double().numpy())
        parsed = self.numbers.columns.get(name) if isinstance(self.numbers, NumbersOf) else None
        return parsed or written

    def is_missing(self, column: str) -> Tensor:
        """True (n,) for each row whose cell of an input is missing."""
        if column in self.texts:
            return torch.from_numpy(self.texts[column].missing)
        return (self.moments[column] if column in self.moments else self.numbers[column]).isnan()

    def figures(self) -> dict[str, Figures]:
        """The figures of each column of numbers and of dates."""
        every = chain(self.numbers.items(), self.moments.items())
        return {name: Figures.of(values.numpy()) for name, values in every}

    def take(self, rows: Sequence[int] | np.ndarray) -> Cells:
        """The cells of some rows, in the order given, without their notes of trouble."""
        chosen = np.asarray(rows)
        indices = torch.from_numpy(chosen)
        return Cells(
            self.source,
            self.lines[chosen],
            TakenRows(self.numbers, indices),
            {column: values.take(chosen) for column, values in self.texts.items()},
            None if self.date is None else self.date[indices],
            TakenRows(self.moments, indices),
            None if self.parts is None else self.parts[chosen],
            None if self.rows is None else self.rows[chosen],
            None if self.keys is None else self.keys[indices],
            guesses={name: values[indices] for name, values in self.guesses.items()},
        )

    def said(self, trouble: Trouble) -> str:
        """Some missing and unreadable cells in words."""
        said = TroubleSaid()
        said.add(trouble, self.lines)
        return str(said)

    def said_without_past(self) -> str:
        """`2 rows have no earlier value: row 2, row 367`, "" if there are none."""
        if not (rows := sorted(self.without_past)):
            return ""
        places = ", ".join(f"row {self.lines[row]}" for row in rows[:SHOWN])
        count = "1 row has" if len(rows) == 1 else f"{len(rows):,} rows have"
        return f"{count} no earlier value: {places}{', …' if len(rows) > SHOWN else ''}"

    def names(self) -> list[str]:
        """Names for the rows: their dates if these are unique, else `row 2`, …"""
        if self.date is None or len(self.date.unique()) < len(self.date):
            return [f"row {line}" for line in self.lines]
        return said_dates(self.date)

    def _note(self, column: str, is_missing: np.ndarray, odd: Mapping[int, str] | None = None) -> None:
        """Note the cells of a column that are missing (n,) or odd, beside those noted before."""
        before, rows = self.trouble, np.flatnonzero(is_missing)
        missing = {**before.missing, column: rows} if len(rows) else before.missing
        self.trouble = Trouble(missing, {**before.odd, column: odd} if odd else before.odd)


def _first(texts: Mapping[int, str]) -> Iterable[tuple[int, str]]:
    return nsmallest(SHOWN, texts.items())


def in_order(texts: Iterable[str]) -> tuple[str, ...]:
    """The distinct texts without "", sorted as numbers if all are numbers, else as text."""
    different = {text for text in texts if text}
    try:
        return tuple(sorted(different, key=lambda text: (number(text) or 0.0, text)))
    except ValueError:
        return tuple(sorted(different))


def _is_whole(text: str) -> bool:
    try:
        value = number(text)
    except ValueError:
        return False
    return value is not None and value.is_integer()
