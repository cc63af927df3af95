"""CSV as RFC 4180 has it, in UTF-8, or as options state it: the first row that is no such is refused."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

from dlrun.data.table_files.csv_rows import MISTAKES
from dlrun.data.table_files.dialects import WHITESPACE, Row, separator_called
from dlrun.data.table_files.layouts import LONGEST_NAME, given_names
from dlrun.data.table_files.packed_files import PackedFile
from dlrun.data.table_files.tables import Reading
from dlrun.data.table_files.text_encodings import FIX, LONGEST_LINE, text_file
from dlrun.errors import UserError


def strict_rows(file: PackedFile, reading: Reading) -> Iterator[Row]:
    """Yield the names of the columns, and then each row, with the lines on which they begin.

    Raises UserError for the first row that is none, and if there are no rows.
    """
    source, header, columns = str(file.path), reading.header, list(reading.columns)
    separator = "," if reading.separator == "auto" else separator_called(reading.separator)
    names: list[str] = []
    count = 0
    for line, last, cells in _cells(file, reading, separator):
        header = line if header == "auto" else header
        if header != "none" and line <= header:
            if line == header and not columns:
                names = cells
                _refuse_names(names, f"{source}:{line}", separator)
                yield line, names
            continue
        if not names:
            if not columns and header != "none":
                fix = "set header to the line of the names"
                raise UserError(f"no row begins on line {header:,}", where=source, fix=fix)
            if columns:
                width = len(columns) if _ends_empty(cells, len(columns)) else len(cells)
                names = list(given_names(columns, width, source))
            else:
                names = [f"c{place}" for place in range(1, len(cells) + 1)]
            yield line, names
        if len(cells) != len(names) and not (columns and _ends_empty(cells, len(names))):
            what = f"row {line} has {_count(len(cells), 'cell')}, but the header names"
            what += f" {_count(len(names), 'column')}{_goes_on(line, last)}"
            fix = "name each column in the first row, and put quotes around a cell that holds a comma"
            raise UserError(what, where=f"{source}:{line}", fix=fix)
        count += 1
        yield line, cells[: len(names)]
    if not count:
        what = "the file is empty" if header == "auto" else "the file has a header but no rows"
        if isinstance(reading.header, int) and not names and not columns:
            what = f"no row begins on line {header:,}"
        raise UserError(what, where=source)


def _ends_empty(cells: Sequence[str], columns: int) -> bool:
    return len(cells) > columns and not any(cells[columns:])


def _cells(file: PackedFile, reading: Reading, separator: str) -> Iterator[tuple[int, int, list[str]]]:
    """Yield the first and last line of each row that is not blank, and its cells."""
    is_utf8 = reading.encoding.lower() in ("auto", "utf-8", "utf8")
    lines = _utf8_lines(file) if is_utf8 else text_file(file, reading.encoding).lines()
    if separator == WHITESPACE:
        lines = (" ".join(line.split()) + "\n" for line in lines)
    reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)
    start = 1
    try:
        for cells in reader:
            line, start = start, reader.line_num + 1
            if cells:
                yield line, reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        said = next((ours for theirs, ours in MISTAKES.items() if theirs in str(error)), str(error))
        said = said.format(separator="comma" if separator == "," else "separator")
        goes_on = "" if "never closed" in said else _goes_on(start, reader.line_num)
        raise UserError(f"{said}{goes_on}", where=f"{file.path}:{start}") from None


def _utf8_lines(file: PackedFile) -> Iterator[str]:
    """Yield the lines of a file. Raises UserError for a line that is not UTF-8, or far too long."""
    line = 0
    try:
        with file.opened() as source:
            while raw := source.readline(LONGEST_LINE + 1):
                line += 1
                if len(raw) > LONGEST_LINE:
                    raise UserError(f"row {line} is longer than {LONGEST_LINE:,} bytes", where=str(file.path))
                text = raw.decode("utf-8-sig" if line == 1 else "utf-8")
                if "\0" in text:
                    what = f"row {line} holds a byte 0: this is not text"
                    raise UserError(what, where=str(file.path), fix=FIX)
                yield text
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        what = f"row {line} is not UTF-8: byte {error.start + 1} is {byte:#04x}"
        raise UserError(what, where=f"{file.path}:{line}", fix=FIX) from None


def _goes_on(first: int, last: int) -> str:
    """A hint for a row that spans several lines, in case a stray quotation mark joined them."""
    return f'; it goes on to line {last}: maybe a quote (") is not closed' if last > first else ""


def _refuse_names(names: list[str], where: str, separator: str) -> None:
    """Raise UserError for a header with empty, duplicate or overlong names, or another separator."""
    mistakes = [f"column {index} has no name" for index, name in enumerate(names, 1) if not name]
    mistakes += [
        f"the name of column {index} is longer than {LONGEST_NAME:,} characters"
        for index, name in enumerate(names, 1)
        if len(name) > LONGEST_NAME
    ]
    first: dict[str, int] = {}
    for index, name in enumerate(names, 1):
        if name and first.setdefault(name, index) != index:
            mistakes.append(f"columns {first[name]} and {index} are both called {name[:40]!r}")
    if mistakes:
        more = f", and {len(mistakes) - 5} more such mistakes" if len(mistakes) > 5 else ""
        fix = "give each column a name of its own in the first row"
        raise UserError("; ".join(mistakes[:5]) + more, where=where, fix=fix)
    if separator != ",":
        return
    for other, called in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(names) == 1 and other in names[0]:
            fix = "save the file with commas (and numbers with decimal points)"
            raise UserError(f"the columns seem to be separated by {called}", where=where, fix=fix)


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
