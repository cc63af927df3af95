"""The cells of new rows as they are written in their file, such as 007, to be carried beside predictions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dlrun.data.table_files.tables import Table
from dlrun.errors import UserError


class WrittenRows:
    """The rows of tables that `read` gives one after the other, read as far as they are asked for.

    Only those that are asked for last are held; earlier ones are read again.
    """

    def __init__(self, read: Callable[[], Iterator[Table]]) -> None:
        self._read = read
        self._tables: Iterator[Table] = iter(())
        self._held: deque[tuple[int, Table]] = deque()  # with the number of the first row of each
        self._end = 0  # behind the last row that was read

    def cells(self, name: str, rows: range) -> list[str]:
        """The cells of one column in some rows. Raises UserError if the file has no such rows any more."""
        if not self._held or rows.start < self._held[0][0]:
            self._tables, self._end = self._read(), 0
            self._held.clear()
        while self._end < rows.stop:
            if (table := next(self._tables, None)) is None:
                raise UserError("the file has changed while it was read")
            self._held.append((self._end, table))
            self._end += len(table)
            while self._held and self._held[0][0] + len(self._held[0][1]) <= rows.start:
                self._held.popleft()
        found: list[str] = []
        for start, table in self._held:
            own = np.arange(max(start, rows.start), min(start + len(table), rows.stop)) - start
            found += table.columns[name].take(own).cells()
        return found


@dataclass(frozen=True)
class WrittenCells(Mapping[str, list[str]]):
    """The cells of some rows by column, read when they are asked for."""

    written: WrittenRows
    names: Sequence[str]
    rows: range

    def __getitem__(self, name: str) -> list[str]:
        return self.written.cells(name, self.rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
