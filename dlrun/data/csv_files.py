"""Files as tables: read strictly as CSV, or as they seem to be meant, with each guess noted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from dlrun.data.columns import number, number_with_comma
from dlrun.data.csv_rows import BodyReader
from dlrun.data.dialects import Row
from dlrun.data.layouts import layout_of
from dlrun.data.packed_files import PackedFile
from dlrun.data.strict_csv import strict_rows
from dlrun.data.tables import STRICT, Reading, Table
from dlrun.data.text_encodings import FIX, text_file
from dlrun.errors import UserError
from dlrun.system import machine
from dlrun.system.files import size_text

_BYTES_OF_A_CELL = 80  # as a Python string
_NO_TABLES = {  # first bytes of files that are no CSV
    b"\xd0\xcf\x11\xe0": "a workbook (.xls)",
    b"PAR1": "a Parquet file",
}


def read_table(path: Path, reading: Reading = STRICT, texts: Collection[str] = ()) -> Table:
    """Read the table in a CSV file, which may be packed by gzip, bzip2, xz or ZIP.

    The columns of `texts` keep their texts even if they are numbers, such as 01.

    Read strictly, it is RFC 4180 in UTF-8 with or without byte order mark, as far as the options of
    `reading` do not say otherwise: the first row names the columns, blank lines are ignored. Raises
    UserError, with the line, if the file is missing or is not such a table.
    """
    file = PackedFile.at(path, reading.sheet)
    with file.opened() as raw:
        start = raw.read(4)
    if start in _NO_TABLES:
        raise UserError(f"this is {_NO_TABLES[start]}, not a CSV file", where=str(path), fix=FIX)
    return (_strict if reading.is_strict else _guessed)(file, reading, texts)


def _strict(file: PackedFile, reading: Reading, texts: Collection[str]) -> Table:
    """A table that is read as the options state it."""
    (_, names), *rows = _bounded(strict_rows(file, reading), str(file.path))
    cells, lines = [cells for _, cells in rows], [line for line, _ in rows]
    read = number_with_comma if reading.decimal == "," else number
    return Table.of_rows(str(file.path), names, cells, lines, texts, reading.missing, read)


def _guessed(file: PackedFile, reading: Reading, texts: Collection[str]) -> Table:
    """A table that is read as it seems to be meant."""
    layout = layout_of(text_file(file, reading.encoding), reading)
    body = BodyReader(layout)
    rows = list(_bounded(body.rows(), layout.source))
    if not rows:
        raise UserError("the file has a header but no rows", where=layout.source)
    cells, lines = [cells for _, cells in rows], [line for line, _ in rows]
    read = number_with_comma if layout.decimal == "," else number
    table = Table.of_rows(layout.source, layout.names, cells, lines, texts, reading.missing, read)
    return replace(table, notes=[*layout.notes, *body.notes], guessed=layout.guessed)


def _bounded(rows: Iterable[Row], source: str) -> Iterator[Row]:
    """Yield the rows. Raises UserError before they take more than the memory of the machine."""
    most = machine.memory() // _BYTES_OF_A_CELL
    cells = 0
    for count, row in enumerate(rows, 1):
        cells += len(row[1])
        if cells > most:
            what = f"the first {count:,} rows take {size_text(cells * _BYTES_OF_A_CELL)} of memory: too much"
            raise UserError(what, where=source, fix="leave out rows or columns")
        yield row


def cell(value: Any) -> Any:
    """A value for a CSV file; an apostrophe goes before text that a spreadsheet would run as a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value
