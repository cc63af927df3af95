"""CSV files read strictly: every mistake is reported with its file and row."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from dlrun.data.tables import STRICT, Reading, Table
from dlrun.errors import UserError

_LONGEST_NAME = 1000
_LONGEST_LINE = 2**24  # bytes: a hundred thousand columns
_MOST_BYTES = 2**28  # decompressed; as Python strings they take about ten times as much memory
_MOST_LINES = 2**23  # even of the shortest rows these take more than a gigabyte
_MISTAKES = {  # message of the csv module -> our message
    "unexpected end of data": 'a quote (") is opened here and never closed',
    "field larger than": 'a cell is longer than 131,072 characters: maybe a quote (") is never closed',
    "expected after": "there is something between a closing quote and the next comma",
    "new-line character": "there is a carriage return within a row: rows must end with LF or CRLF",
}
_NO_TABLES = {  # first bytes of spreadsheet files and others that are no CSV
    b"PK\x03\x04": "a ZIP file, as a workbook (.xlsx, .ods) is one",
    b"\xd0\xcf\x11\xe0": "a workbook (.xls)",
    b"PAR1": "a Parquet file",
}
_FIX = "save the table as CSV, in UTF-8"


def read_table(path: Path, reading: Reading = STRICT, texts: Collection[str] = ()) -> Table:
    """Read the table in a CSV file (RFC 4180, UTF-8 with or without byte order mark, optionally gzipped).

    The columns of `texts` keep their texts even if they are numbers, such as 01.

    The first row names the columns; blank lines are ignored. Raises UserError, with the line, if the file
    is missing or is not such a table.
    """
    rows: list[list[str]] = []
    lines: list[int] = []
    start = 1
    reader = csv.reader(_lines(path), strict=True, skipinitialspace=True)
    try:
        for cells in reader:
            line, start = start, reader.line_num + 1
            if not cells:
                continue
            rows.append([cell.strip() for cell in cells])
            lines.append(line)
            if len(rows) == 1:
                _refuse_names(rows[0], f"{path}:{line}")
            elif len(cells) != len(rows[0]):
                what = f"row {line} has {_count(len(cells), 'cell')}, but the header names"
                what += f" {_count(len(rows[0]), 'column')}{_goes_on(line, reader.line_num)}"
                fix = "name each column in the first row, and put quotes around a cell that holds a comma"
                raise UserError(what, where=f"{path}:{line}", fix=fix)
    except csv.Error as error:
        said = next((ours for theirs, ours in _MISTAKES.items() if theirs in str(error)), str(error))
        goes_on = "" if "never closed" in said else _goes_on(start, reader.line_num)
        raise UserError(f"{said}{goes_on}", where=f"{path}:{start}") from None
    if len(rows) < 2:
        what = "the file has a header but no rows" if rows else "the file is empty"
        raise UserError(what, where=str(path))
    return Table.of_rows(str(path), rows[0], rows[1:], lines[1:], texts, reading.missing)


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file. Raises UserError if it is not a file, not text, or far too large."""
    line, total = 0, 0
    try:
        if path.is_dir() or (path.exists() and not path.is_file()):  # opening a pipe may block forever
            raise UserError(f"{path} is not a file")
        with open(path, "rb") as file:
            magic = file.read(4)
            if magic in _NO_TABLES:
                raise UserError(f"this is {_NO_TABLES[magic]}, not a CSV file", where=str(path), fix=_FIX)
            is_packed = magic[:2] == b"\x1f\x8b"
            file.seek(0)
            source = gzip.GzipFile(fileobj=file) if is_packed else file
            while raw := source.readline(_LONGEST_LINE + 1):
                line += 1
                total += len(raw)
                if len(raw) > _LONGEST_LINE:
                    raise UserError(f"row {line} is longer than {_LONGEST_LINE:,} bytes", where=str(path))
                if total > _MOST_BYTES or line > _MOST_LINES:
                    most = f"{_MOST_BYTES / 2**20:.0f} MiB or {_MOST_LINES:,} rows"
                    raise UserError(f"the table has more than {most}: too much for dlrun", where=str(path))
                text = raw.decode("utf-8-sig" if line == 1 else "utf-8")
                if "\0" in text:
                    raise UserError(f"row {line} holds a byte 0: this is not text", where=str(path), fix=_FIX)
                yield text
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        what = f"row {line} is not UTF-8: byte {error.start + 1} is {byte:#04x}"
        raise UserError(what, where=f"{path}:{line}", fix=_FIX) from None
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"this is not a complete gzip file: {error}", where=str(path)) from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def _goes_on(first: int, last: int) -> str:
    """A hint for a row that spans several lines, in case a stray quotation mark joined them."""
    return f'; it goes on to line {last}: maybe a quote (") is not closed' if last > first else ""


def _refuse_names(names: list[str], where: str) -> None:
    """Raise UserError for a header with empty, duplicate or overlong names, or another separator."""
    mistakes = [f"column {index} has no name" for index, name in enumerate(names, 1) if not name]
    mistakes += [
        f"the name of column {index} is longer than {_LONGEST_NAME:,} characters"
        for index, name in enumerate(names, 1)
        if len(name) > _LONGEST_NAME
    ]
    first: dict[str, int] = {}
    for index, name in enumerate(names, 1):
        if name and first.setdefault(name, index) != index:
            mistakes.append(f"columns {first[name]} and {index} are both called {name[:40]!r}")
    if mistakes:
        more = f", and {len(mistakes) - 5} more such mistakes" if len(mistakes) > 5 else ""
        fix = "give each column a name of its own in the first row"
        raise UserError("; ".join(mistakes[:5]) + more, where=where, fix=fix)
    for separator, called in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(names) == 1 and separator in names[0]:
            fix = "save the file with commas (and numbers with decimal points)"
            raise UserError(f"the columns seem to be separated by {called}", where=where, fix=fix)


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def cell(value: Any) -> Any:
    """A value for a CSV file; an apostrophe goes before text that a spreadsheet would run as a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value
