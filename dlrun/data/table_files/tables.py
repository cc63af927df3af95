"""Table: the columns of a file or of a generated table. Reading: how a file is to be read as one."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dlrun.data.table_files.columns import MISSING, Column, TextColumns, column_of, number
from dlrun.errors import UserError
from dlrun.system import machine
from dlrun.system.files import size_text

Decimal = Literal["auto", ".", ","]


@dataclass(frozen=True)
class Reading:
    """The options by which a file is read as a table (documented in `dlrun.dataset.csv.csv`).

    `auto` is found by looking at the file; if `is_strict` it is what RFC 4180 says, in UTF-8 with decimal
    points, and any other file is refused.
    """

    separator: str = "auto"  # one sign, tab or whitespace
    decimal: Decimal = "auto"
    encoding: str = "auto"
    header: int | Literal["auto", "none"] = "auto"  # the line of the names of columns, from 1
    columns: Sequence[str] = ()  # the names of the columns, instead of those in the file
    na_values: Sequence[str] = ()  # further cells that mean a missing value
    sheet: str | None = None  # of a workbook, by name or number; or the file in an archive of several
    is_strict: bool = False

    @property
    def missing(self) -> frozenset[str]:
        """The cells that mean a missing value."""
        return MISSING | {*self.na_values}


STRICT = Reading(is_strict=True)


EVERY_COLUMN = TextColumns(are_all=True)
ELSEWHERE = 2**40  # from this number on an example is of another file or folder than those of training


@dataclass
class RowNames:
    """The names of rows or series by their numbers: of the table of training, from ELSEWHERE on of others."""

    own: Callable[[int], str] = "row {}".format
    other: Callable[[int], str] = "row {}".format

    def __call__(self, number: int) -> str:
        return self.own(number) if number < ELSEWHERE else self.other(number - ELSEWHERE)


def refuse_beyond_memory(needed: int, path: Path | str) -> None:
    """Raise UserError for a table that needs more bytes than the machine has memory."""
    if needed > machine.memory():
        what = f"the table takes {size_text(needed)}, but there are {size_text(machine.memory())} of memory"
        raise UserError(what, where=str(path), fix="leave out rows or columns")


@dataclass(frozen=True)
class Table:
    """The columns of a table by name, and the line on which each row begins.

    Messages call a row by its line in the file: the first after the header is row 2. `notes` say what was
    found by looking at the file, and `guessed` has it as options of the dataset.
    """

    source: str
    columns: Mapping[str, Column]
    lines: Sequence[int]
    notes: Sequence[str] = ()
    guessed: Mapping[str, Any] = field(default_factory=dict)
    parts: np.ndarray | None = None  # (n,) int8: the split of the file of each row, as in Cells
    files: Sequence[tuple[str, int]] = ()  # of several files the names, and the first row of each

    @classmethod
    def of_rows(
        cls,
        source: str,
        names: Sequence[str],
        rows: Sequence[Sequence[str]],
        lines: Sequence[int] | None = None,
        texts: Container[str] = (),
        missing: frozenset[str] = MISSING,
        read: Callable[[str], float | None] = number,
    ) -> Table:
        """A table of rows of cells; the columns of `texts` keep their texts even if they are numbers.

        `read` gives the number in a cell.
        """
        each = zip(*rows, strict=True) if rows else [()] * len(names)
        columns = {
            name: column_of(cells, missing, as_text=name in texts, read=read)
            for name, cells in zip(names, each, strict=True)
        }
        return cls(source, columns, range(2, len(rows) + 2) if lines is None else lines)

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def passed_over(self) -> list[str]:
        """The notes on lines that are no rows of the table, such as a sum at its end."""
        return [note for note in self.notes if "passed over" in note]

    def place(self, row: int) -> str:
        """`row 17`, as messages call a row by its line; of several files `b.csv, row 3`."""
        file = next((f"{name}, " for name, first in reversed(self.files) if first <= row), "")
        return f"{file}row {self.lines[row]}"

    def column(self, name: str) -> list[str]:
        """The cells of one column as texts, "" for missing ones."""
        return self.columns[name].cells()
