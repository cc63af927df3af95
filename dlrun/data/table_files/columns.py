"""Columns of a table: numbers with the few cells that are none, or texts of which each is held once."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

# Cells that mean a missing value, a subset of pandas' list. Case matters, for Na is sodium.
MISSING = frozenset({"", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null"})
LARGEST = 3.4e38  # the largest float32, the type in which models compute
_PADDED = re.compile(r"0[0-9]+")
_FIRST = 1000
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Column:
    """One column of n cells.

    A column of numbers has `numbers` (n,) float64, nan where a cell is missing or holds no plain number, and
    `odd`, the texts of the latter by their rows. Another has `codes` (n,) int32, the place of each cell's
    text among the distinct `texts`, -1 where it is missing. `is_typed` marks a column whose file itself says
    that it holds numbers, such as one of Parquet; `is_date` one of dates, whose texts are in ISO 8601.
    `padded` is the length of the longest number that is written with a zero in front, such as 007, or 0.
    """

    numbers: np.ndarray | None = None
    odd: Mapping[int, str] = field(default_factory=dict)
    codes: np.ndarray | None = None
    texts: Sequence[str] = ()
    is_typed: bool = False
    is_date: bool = False
    padded: int = 0

    @classmethod
    def of_texts(cls, cells: Iterable[str], missing: frozenset[str]) -> Column:
        """A column of texts; a cell in `missing` is missing."""
        places: dict[str, int] = {}
        codes = [-1 if text in missing else places.setdefault(text, len(places)) for text in cells]
        return cls(codes=np.array(codes, np.int32), texts=list(places))

    def __len__(self) -> int:
        return len(self._cells)

    @property
    def _cells(self) -> np.ndarray:
        cells = self.numbers if self.codes is None else self.codes
        assert cells is not None, "a column has numbers or codes"
        return cells

    @property
    def missing(self) -> np.ndarray:
        """True (n,) for each missing cell."""
        is_missing: np.ndarray = np.isnan(self._cells) if self.codes is None else self.codes < 0
        is_missing[list(self.odd)] = False
        return is_missing

    @property
    def has_fractions(self) -> bool:
        """True for numbers of which one is not whole."""
        values = np.empty(0) if self.numbers is None else self.numbers
        return any(  # mostly some of the first ones tell
            bool((some != np.round(some))[~np.isnan(some)].any())
            for some in (values[:_FIRST], values[_FIRST:])
        )

    @cached_property
    def counts(self) -> np.ndarray:
        """The number of cells of each of the distinct `texts`."""
        assert self.codes is not None, "a column of numbers has no texts"
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.texts))

    @property
    def present(self) -> list[str]:
        """The distinct texts that a cell holds; rows may have been left out since."""
        return [text for text, count in zip(self.texts, self.counts.tolist(), strict=True) if count]

    def cell(self, row: int) -> str:
        """The text of one cell, "" if it is missing; a number without needless digits, as `1` for 1.0."""
        if self.codes is not None:
            code = int(self.codes[row])
            return "" if code < 0 else self.texts[code]
        return self.odd.get(row) or said_number(float(self._cells[row]))

    def cells(self) -> list[str]:
        """The texts of all cells, "" for missing ones."""
        if self.codes is not None:
            texts = [*self.texts, ""]  # -1 is the last
            return [texts[code] for code in self.codes.tolist()]
        said = list(map(said_number, self._cells.tolist()))
        for row, text in self.odd.items():
            said[row] = text
        return said

    def as_texts(self) -> Column:
        """The same cells as a column of texts."""
        return self if self.codes is not None else Column.of_texts(self.cells(), frozenset({""}))

    def odd_cells(self, read: Callable[[str], float]) -> int:
        """The number of cells that are not missing, and of which `read` raises ValueError."""
        if self.codes is None:
            return len(self.odd)
        unread = [place for place, text in enumerate(self.texts) if not _is_read(text, read)]
        return int(self.counts[unread].sum()) if unread else 0

    def as_numbers(self, read: Callable[[str], float]) -> Column:
        """The same cells as a column of numbers; `read` gives that of a text, or raises ValueError."""
        if self.codes is None and not self.odd:
            return self
        if self.codes is None:
            numbers, odd = self._cells.copy(), dict[int, str]()
            for row, text in self.odd.items():
                try:
                    numbers[row] = read(text)
                except ValueError:
                    odd[row] = text
            return Column(numbers, odd, is_typed=self.is_typed, padded=self.padded)
        values, unread = np.full(len(self.texts) + 1, np.nan), set[int]()
        for place, text in enumerate(self.texts):
            try:
                values[place] = read(text)
            except ValueError:
                unread.add(place)
        rows = np.flatnonzero(np.isin(self.codes, list(unread))).tolist() if unread else []
        odd = {row: self.texts[self.codes[row]] for row in rows}
        return Column(values[self.codes], odd, padded=padded_length(self.texts))

    def without(self, words: Sequence[str]) -> Column:
        """The same cells, of which those that hold one of some words are missing."""
        if self.codes is None:
            odd = {row: text for row, text in self.odd.items() if text not in words}
            if len(odd) == len(self.odd):
                return self
            return Column(self.numbers, odd, is_typed=self.is_typed, padded=self.padded)
        kept = [place for place, text in enumerate(self.texts) if text not in words]
        if len(kept) == len(self.texts):
            return self
        places = np.full(len(self.texts) + 1, -1, np.int32)  # of the code -1 too
        places[kept] = np.arange(len(kept))
        return Column(
            codes=places[self.codes], texts=[self.texts[place] for place in kept], is_date=self.is_date
        )

    def take(self, rows: np.ndarray) -> Column:
        """The cells of some rows, in the order given."""
        if self.codes is not None:
            return Column(codes=self.codes[rows], texts=self.texts, is_date=self.is_date)
        places = {int(row): place for place, row in enumerate(rows)} if self.odd else {}
        odd = {places[row]: text for row, text in self.odd.items() if row in places}
        return Column(self._cells[rows], odd, is_typed=self.is_typed)


def _is_read(text: str, read: Callable[[str], float]) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class TextColumns(Container[str]):
    """The columns of which the texts are kept, even if they are numbers: those of some names, or all."""

    names: frozenset[str] = frozenset()
    are_all: bool = False

    def __contains__(self, name: object) -> bool:
        return self.are_all or name in self.names

    def __or__(self, names: Iterable[str]) -> TextColumns:
        """These and some more."""
        return TextColumns(self.names.union(names), self.are_all)


def said_number(value: float) -> str:
    """A number as a text that has no needless digits: `1`, `0.25`, `1e+20`; "" for nan."""
    if value != value:  # nan
        return ""
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def column_of(
    cells: Sequence[str],
    missing: frozenset[str] = MISSING,
    *,
    as_text: bool = False,
    read: Callable[[str], float | None] | None = None,
) -> Column:
    """The column of some cells: of numbers if most that are not missing hold one, unless it is `as_text`.

    `read` gives the number in a cell as `number` does, which is used by default.
    """
    if as_text:
        return Column.of_texts(cells, missing)
    read = read or number
    numbers, odd = np.full(len(cells), np.nan), dict[int, str]()
    for row, text in enumerate(cells):
        try:
            value = None if text in missing else read(text)
        except ValueError:
            odd[row] = text
        else:
            numbers[row] = math.nan if value is None else value
    if 2 * len(odd) > len(cells) - np.isnan(numbers).sum() + len(odd):
        return Column.of_texts(cells, missing)
    return Column(numbers, odd, padded=padded_length(cells))


def padded_length(cells: Iterable[str]) -> int:
    """The length of the longest whole number with a zero in front, such as 007, among some cells, or 0."""
    return max((len(text) for text in cells if text[:1] == "0" and _PADDED.fullmatch(text)), default=0)


class TooLarge(ValueError):
    """A number that float32 cannot hold."""


def number(text: str) -> float | None:
    """The plain decimal number in a cell, or None if the value is missing (see MISSING).

    Raises ValueError for anything else: text, inf, `1_000`, `1,5`, digits of other scripts; TooLarge for a
    number that float32 cannot hold.
    """
    if text in MISSING:
        return None
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a number")
    value = float(text)
    if abs(value) > LARGEST:
        raise TooLarge(f"{text[:40]!r} is too large")
    return value


def number_with_comma(text: str) -> float | None:
    """The number in a cell that is written with a decimal comma, as `number` gives it.

    Raises ValueError for a cell with a point, too: 1.234 may mean 1234.
    """
    if "." in text:
        raise ValueError(f"{text[:40]!r} is not a number with a decimal comma")
    return number(text.replace(",", "."))


def plain_number(text: str) -> float:
    """The plain decimal number in a cell. Raises ValueError for any other text, and for a missing value."""
    value = number(text)
    if value is None:
        raise ValueError("the value is missing")
    return value


def is_number(text: str) -> bool:
    """True if a cell holds a plain decimal number."""
    try:
        return number(text) is not None
    except ValueError:
        return False
