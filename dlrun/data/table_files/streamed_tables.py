"""The rows of a file in tables of some thousand each, so that the memory does not grow with the file."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from dlrun.data.table_files.arrow_files import arrow_tables
from dlrun.data.table_files.columns import Column, TextColumns
from dlrun.data.table_files.csv_blocks import Irregular, blocks
from dlrun.data.table_files.csv_files import TextRows, format_of, read_table, text_rows
from dlrun.data.table_files.gathered_columns import CellReading, Piece, pieces_of
from dlrun.data.table_files.joined_files import files_of
from dlrun.data.table_files.packed_files import PackedFile
from dlrun.data.table_files.tables import Reading, Table
from dlrun.errors import UserError


def streamed_tables(
    path: Path, reading: Reading, texts: Collection[str] = (), numbers: Collection[str] = ()
) -> Iterator[Table]:
    """Yield the rows that `read_table` gives, in tables that are read one after the other.

    A cell in a column of `numbers` is a number if it holds one, whatever most cells of its table hold; the
    columns of `texts` keep their texts. The rows of CSV before a mistake are given before UserError is raised
    for it. A workbook, and several files, are one table. The last one has the notes on what was passed over.
    """
    files = files_of(path)
    file = PackedFile.at(files[0], reading.sheet)
    kind = format_of(file) if len(files) == 1 else "workbook"
    if kind == "workbook":
        yield read_table(path, reading, texts)
    elif kind == "arrow":
        cells = CellReading(reading.missing)
        for table in arrow_tables(files[0], reading, texts):
            yield _with_numbers(table, cells, numbers)
    else:
        rows = text_rows(file, reading)
        cells = CellReading(reading.missing, rows.layout.read, TextColumns() | texts)
        pieces = _pieces(rows, cells, is_strict=reading.is_strict)
        if (first := next(pieces, None)) is None:
            raise UserError("the file has a header but no rows", where=str(path))
        last = _with_numbers(_table(first, rows), cells, numbers)
        del first
        try:
            for piece in pieces:
                yield last
                last = _with_numbers(_table(piece, rows), cells, numbers)
        except UserError:
            yield last
            raise
        yield replace(last, notes=[note for body in rows.bodies for note in body.notes])


def _pieces(rows: TextRows, cells: CellReading, *, is_strict: bool) -> Iterator[Piece]:
    """Yield the rows in blocks as far as they are regular, and then row by row."""
    given = 0
    if rows.text is not None:
        last: Piece | None = None  # whose last row may turn out to be a sum, at the end of the file
        try:
            for piece in blocks(rows.text, rows.layout, cells, is_strict=is_strict):
                if last is not None:
                    yield last
                    given += len(last.lines)
                last = piece
        except Irregular:
            pass
        else:
            if last is not None:
                yield last
            return
    yield from pieces_of(rows.rows_behind(given), rows.layout.names, cells)


def _table(piece: Piece, rows: TextRows) -> Table:
    columns = dict(zip(rows.layout.names, piece.columns, strict=True))
    return Table(rows.layout.source, columns, piece.lines, guessed=rows.layout.guessed)


def _with_numbers(table: Table, cells: CellReading, numbers: Collection[str]) -> Table:
    columns = {
        name: _by_cell(column, cells) if name in numbers else column for name, column in table.columns.items()
    }
    return Table(table.source, columns, table.lines, table.notes, table.guessed)


def _by_cell(column: Column, cells: CellReading) -> Column:
    """The column as one of numbers if any of its cells holds a number."""
    if column.codes is None or column.is_date:
        return column
    if column.odd_cells(cells.plain) == int((column.codes >= 0).sum()):
        return column
    return column.as_numbers(cells.plain)
