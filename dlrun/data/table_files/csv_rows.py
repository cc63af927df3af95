"""The rows of a text in a known layout: mistakes are collected, and lines that are no rows are noted."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import dropwhile

from dlrun.data.table_files.dialects import Row, rows_of
from dlrun.data.table_files.headers import COMMENT, is_rule, kind_of_cell
from dlrun.data.table_files.layouts import Layout
from dlrun.data.table_files.text_encodings import TextFile
from dlrun.errors import UserError

SHOWN = 3  # places that a message names
MISTAKES = {  # message of the csv module -> our message
    "unexpected end of data": 'a quote (") is opened here and never closed',
    "field larger than": 'a cell is longer than 131,072 characters: maybe a quote (") is never closed',
    "expected after": "there is something between a closing quote and the next {separator}",
    "new-line character": "there is a carriage return within a row: rows must end with LF or CRLF",
}
_SUMS = {
    "total",
    "totals",
    "grand total",
    "sum",
    "gesamt",
    "summe",
    "insgesamt",
    "total general",
    "suma",
    "somme",
}


@dataclass
class Lines:
    """Some lines of a file: the first few and their number."""

    count: int = 0
    first: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, said: str = "") -> None:
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append((line, said))

    def said(self, what: str = "line") -> str:
        """`line 3 (…), line 9, …`"""
        places = [f"{what} {line}{f' ({said})' if said else ''}" for line, said in self.first]
        return ", ".join(places) + (", …" if self.count > SHOWN else "")


@dataclass
class BodyReader:
    """The rows behind the header of a table. After `rows` has ended, `notes` say what was passed over."""

    layout: Layout
    notes: list[str] = field(default_factory=list)
    _short: Lines = field(default_factory=Lines)
    _long: Lines = field(default_factory=Lines)
    _quotes: dict[str, Lines] = field(default_factory=dict)
    _empty: Lines = field(default_factory=Lines)
    _remarks: Lines = field(default_factory=Lines)
    _again: Lines = field(default_factory=Lines)
    _rules: Lines = field(default_factory=Lines)
    _passed: set[int] = field(default_factory=set)  # of a single column, the lines that are no rows

    def rows_of_text(self, text: TextFile) -> Iterator[Row]:
        """Yield each row of a text; see `rows`."""
        rows = self.rows(rows_of(text.lines(), self.layout.separator, self._quote))
        return rows if len(self.layout.names) > 1 else self._with_blank_lines(rows)

    def _with_blank_lines(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows of a single column; a blank line between two of them is one without a value."""
        expected = 0
        for line, cells in rows:
            blank = (number for number in range(expected, line) if expected and number not in self._passed)
            yield from ((number, [""]) for number in blank)
            yield line, cells
            expected = line + 1 + cells[0].count("\n")

    def rows(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield those of all rows that belong to the table, with their lines.

        Raises UserError, at the end, for all rows that are mistakes; none behind the first is given.
        """
        last: Row | None = None
        misfits: list[Row] = []  # since the last row
        sums, is_sound = 0, True  # up to the last row
        for row in self._regular(rows, misfits):
            if last is not None and is_sound:
                yield last
            last, is_sound = row, not (self._short.count or self._long.count or self._quotes)
            sums += is_sum(row[1])
        footers = self._footers(misfits, last)
        has_sum = last is not None and sums == 1 and is_sum(last[1])
        if last is not None and is_sound and not has_sum:
            yield last
        self._refuse()
        self._note(footers)
        if last is not None and has_sum:
            self.notes.append(f"line {last[0]} ({last[1][0]!r}) sums up the rows: passed over")

    def _regular(self, rows: Iterable[Row], misfits: list[Row]) -> Iterator[Row]:
        """Yield the rows of the layout's width; others since the last one are left in `misfits`."""
        layout, columns = self.layout, len(self.layout.names)
        header, may_be_remarks = list(layout.header) if layout.telling is not None else None, True
        for line, cells in dropwhile(lambda row: row[0] < layout.first, rows):
            is_wide = len(cells) == layout.width
            if line == layout.first and is_wide and cells[0].startswith(COMMENT):
                may_be_remarks = False  # such as #1 or #ff0000
            if cells[0].startswith(COMMENT) and may_be_remarks and (not is_wide or _is_remark(cells)):
                self._remarks.add(line)
                self._passed.add(line)
            elif not any(cells):
                if columns > 1:  # else it is a row without a value
                    self._empty.add(line)
            elif not is_wide and is_rule(cells):
                self._rules.add(line)
            elif cells == header:
                self._again.add(line)
                self._passed.add(line)
            elif not is_wide or any(cells[columns:]):
                misfits.append((line, cells))
            else:
                self._mistakes(misfits)
                misfits.clear()
                yield line, cells[:columns]

    def _quote(self, line: int, error: csv.Error) -> None:
        said = next((ours for theirs, ours in MISTAKES.items() if theirs in str(error)), str(error))
        said = said.format(separator="comma" if self.layout.separator == "," else "separator")
        self._quotes.setdefault(said, Lines()).add(line)

    def _mistakes(self, misfits: list[Row]) -> None:
        for line, cells in misfits:
            lines = self._short if len(cells) < len(self.layout.names) else self._long
            lines.add(line, f"{len(cells)}")

    def _footers(self, misfits: list[Row], last: Row | None) -> list[Row]:
        """The lines behind the last row that are no rows: texts in the first cell alone, or behind a gap."""
        start, before = 0, last[0] if last else 0
        for at, (line, cells) in enumerate(misfits):
            if line > before + 1 and last is not None and kind_of_cell(cells[0]) == "text":
                break  # a blank line stands before it
            if (
                sum(map(bool, cells)) == 1
                and kind_of_cell(cells[0]) == "text"
                and " " in cells[0]
                and len(self.layout.names) > 1
            ):
                break
            before, start = line, at + 1
        self._mistakes(misfits[:start])
        return misfits[start:]

    def _refuse(self) -> None:
        """Raise UserError for rows of another length and quotes without sense, all in one message."""
        columns = len(self.layout.names)
        mistakes, places = [], []
        for few, lines in (("few", self._short), ("many", self._long)):
            if lines.count:
                rows = "1 row has" if lines.count == 1 else f"{lines.count:,} rows have"
                first = ", ".join(f"row {line} has {cells}" for line, cells in lines.first)
                more = ", …" if lines.count > SHOWN else ""
                mistakes.append(f"{rows} too {few} cells for {columns} columns: {first}{more}")
                places.append(lines.first[0][0])
        for said, lines in self._quotes.items():
            mistakes.append(f"{said} ({lines.said('row')})")
            places.append(lines.first[0][0])
        if mistakes:
            fix = (
                "give each row a cell for each column, and put quotes around a cell that holds the separator"
            )
            raise UserError("; ".join(mistakes), where=f"{self.layout.source}:{min(places)}", fix=fix)

    def _note(self, footers: list[Row]) -> None:
        for lines, one, many in (
            (self._remarks, "a remark (#)", "remarks (#)"),
            (self._empty, "without any value", "without any value"),
            (self._again, "the header again", "the header again"),
            (self._rules, "drawn across", "drawn across"),
        ):
            if lines.count == 1:
                self.notes.append(f"line {lines.first[0][0]} is {one}: passed over")
            elif lines.count:
                self.notes.append(f"{lines.count:,} lines are {many}: passed over ({lines.said()})")
        if footers:
            text = ",".join(footers[0][1])
            short = repr(text if len(text) <= 40 else f"{text[:39]}…")
            which = (
                f"line {footers[0][0]}" if len(footers) == 1 else f"lines {footers[0][0]} to {footers[-1][0]}"
            )
            stand = "stands" if len(footers) == 1 else "stand"
            self.notes.append(f"{which} ({short}) {stand} behind the table: passed over")


def _is_remark(cells: list[str]) -> bool:
    """True for a remark that has as many cells as a row, such as a row that is taken out by a #."""
    return len(cells) > 1 and kind_of_cell(cells[0].lstrip(COMMENT).strip()) == "number"


def is_sum(cells: list[str]) -> bool:
    return len(cells) > 1 and cells[0].rstrip(":").strip().lower() in _SUMS
