"""Columns that are gathered from pieces, such as blocks of a file or several files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from dlrun.data.table_files.columns import MISSING, Column, TextColumns, column_of, number
from dlrun.data.table_files.dialects import Row
from dlrun.errors import UserError

_ROWS = 2**14  # of a piece


@dataclass(frozen=True)
class CellReading:
    """The cells that are read: those that mean a missing value, numbers, and columns whose texts are kept."""

    missing: frozenset[str] = MISSING
    read: Callable[[str], float | None] = number
    texts: TextColumns = TextColumns()

    def plain(self, text: str) -> float:
        """The number in a cell. Raises ValueError for any other text."""
        value = self.read(text)
        if value is None:
            raise ValueError("the value is missing")
        return value


@dataclass(frozen=True)
class Piece:
    """Some rows of a table: the lines on which they begin, and the cells of each column."""

    lines: Sequence[int]
    columns: Sequence[Column]


class Store(Protocol):
    """A place outside of memory for columns of numbers."""

    def keep(self, column: int, start: int, values: np.ndarray) -> np.ndarray:
        """Keep the values of a column from a row on; returns them as they are there."""

    def kept(self, column: int, rows: int) -> np.ndarray:
        """All values of a column."""


@dataclass(frozen=True)
class Memory:
    """A store in memory: (columns, rows), of which those beyond the last are never touched."""

    values: np.ndarray

    @classmethod
    def of(cls, columns: int, rows: int) -> Memory:
        return cls(np.empty((columns, rows)))

    def keep(self, column: int, start: int, values: np.ndarray) -> np.ndarray:
        place = self.values[column, start : start + len(values)]
        place[:] = values
        return place

    def kept(self, column: int, rows: int) -> np.ndarray:
        return self.values[column, :rows]


class MustBeText(Exception):
    """Columns whose first pieces were numbers, but which hold mostly texts: they are read again as texts."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__(f"texts: {names}")
        self.names = names


def pieces_of(rows: Iterable[Row], names: Sequence[str], cells: CellReading) -> Iterable[Piece]:
    """Yield the rows in pieces, those before a mistake before it is raised."""
    for some in _batches(rows):
        each = zip(*(row for _, row in some), strict=True)
        columns = [
            column_of(column, cells.missing, as_text=name in cells.texts, read=cells.read)
            for name, column in zip(names, each, strict=True)
        ]
        yield Piece([line for line, _ in some], columns)


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    some: list[Row] = []
    try:
        for row in rows:
            some.append(row)
            if len(some) == _ROWS:
                yield some
                some = []
    except UserError:
        if some:
            yield some
        raise
    if some:
        yield some


@dataclass
class Gathered:
    """The pieces of a table, one after the other, with their numbers in a store if there is one."""

    names: Sequence[str]
    cells: CellReading = field(default_factory=CellReading)
    store: Store | None = None
    rows: int = 0
    _lines: list[Sequence[int]] = field(default_factory=list)
    _pieces: list[list[Column]] = field(default_factory=list)

    def add(self, piece: Piece) -> None:
        columns = list(piece.columns)
        for at, column in enumerate(columns):
            if self.store and column.numbers is not None:
                columns[at] = replace(column, numbers=self.store.keep(at, self.rows, column.numbers))
        self._lines.append(piece.lines)
        self._pieces.append(columns)
        self.rows += len(piece.lines)

    @property
    def lines(self) -> Sequence[int]:
        """The lines of all rows, as a range if each follows the last."""
        ends = [(some[0], some[-1] + 1) for some in self._lines if len(some)]
        if not ends:
            return ()
        if ends[-1][1] - ends[0][0] == self.rows:
            return range(ends[0][0], ends[-1][1])
        return [int(line) for some in self._lines for line in some]

    def columns(self) -> dict[str, Column]:
        """The columns by name. Raises MustBeText for those that have to be read again."""
        found, texts = {}, []
        for at, name in enumerate(self.names):
            column = self._column(at, as_text=name in self.cells.texts)
            if column is None:
                texts.append(name)
            else:
                found[name] = column
        if texts:
            raise MustBeText(texts)
        return found

    def _column(self, at: int, *, as_text: bool) -> Column | None:
        """One column of numbers or texts, by what most of its cells are; None if its texts are not known."""
        pieces = [columns[at] for columns in self._pieces]
        if not as_text:
            odd = sum(piece.odd_cells(self.cells.plain) for piece in pieces)
            if not odd or 2 * odd <= sum(len(piece) - int(piece.missing.sum()) for piece in pieces):
                return self._numbers(at, pieces)
        if any(piece.codes is None and not piece.is_typed for piece in pieces):
            return None
        return joined_texts([piece.as_texts() for piece in pieces])

    def _numbers(self, at: int, pieces: Sequence[Column]) -> Column:
        read = [piece if piece.codes is None else piece.as_numbers(self.cells.plain) for piece in pieces]
        odd, start = dict[int, str](), 0
        for piece, column in zip(pieces, read, strict=True):
            odd |= {start + row: text for row, text in column.odd.items()}
            if self.store and piece.numbers is None and column.numbers is not None:
                self.store.keep(at, start, column.numbers)
            start += len(column)
        each = [column.numbers for column in read if column.numbers is not None]
        numbers = self.store.kept(at, self.rows) if self.store else np.concatenate(each)
        padded = max((column.padded for column in read), default=0)
        return Column(numbers, odd, is_typed=all(piece.is_typed for piece in pieces), padded=padded)


def joined_texts(pieces: Sequence[Column]) -> Column:
    """One column of texts of several, each text once."""
    places: dict[str, int] = {}
    codes = []
    for piece in pieces:
        assert piece.codes is not None, "a column of texts"
        own = [places.setdefault(text, len(places)) for text in piece.texts]
        codes.append(np.array([*own, -1], np.int32)[piece.codes])  # -1 is the last
    is_date = all(piece.is_date for piece in pieces)
    return Column(codes=np.concatenate(codes), texts=list(places), is_date=is_date)
