"""Sheets of workbooks (.xlsx) as tables, by openpyxl: the header is guessed as in text, cells have types."""

from __future__ import annotations

import datetime
import zipfile
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from dlrun.data.table_files.arrow_files import said_moment
from dlrun.data.table_files.columns import Column, said_number
from dlrun.data.table_files.csv_rows import BodyReader
from dlrun.data.table_files.layouts import layout_of_rows
from dlrun.data.table_files.packed_files import files_in_archive
from dlrun.data.table_files.tables import Reading, Table, refuse_beyond_memory
from dlrun.errors import UserError, nearest

_TIMES = 10  # as Python values cells take more memory than as XML, if numbers are short
_Rows = list[tuple[int, tuple[Any, ...]]]


def workbook_table(path: Path, reading: Reading, texts: Container[str]) -> Table:
    """The table on the named or first sheet of a workbook; a row has the number that Excel shows.

    Raises UserError for a damaged workbook, a sheet that is not there, formulas without values, and rows
    that are mistakes, and if openpyxl is not installed.
    """
    values, notes, guessed = _sheet(path, reading.sheet)
    rows = [(line, [_said(value) for value in row]) for line, row in values]
    rows = [row for row in rows if any(row[1])]
    layout = layout_of_rows(rows, str(path), reading, is_whole=True)
    body = BodyReader(layout)
    found = list(body.rows(rows))
    if not found:
        raise UserError("the sheet has a header but no rows", where=str(path))
    cells, lines = [cells for _, cells in found], [line for line, _ in found]
    table = Table.of_rows(str(path), layout.names, cells, lines, texts, reading.missing)
    by_line = dict(values)
    kinds = {
        name: {type(by_line[line][at]) for line, _ in found if by_line[line][at] is not None}
        for at, name in enumerate(layout.names)
    }
    columns = {name: _typed(column, kinds[name]) for name, column in table.columns.items()}
    if reading.is_strict:
        return replace(table, columns=columns)
    said = [*notes, *layout.notes, *body.notes]
    return replace(table, columns=columns, notes=said, guessed=guessed | dict(layout.guessed))


def _typed(column: Column, kinds: set[type]) -> Column:
    """The column, marked as one of numbers or dates if all its cells are."""
    if kinds and kinds <= {int, float} and column.codes is None:
        return replace(column, is_typed=True)
    if kinds and kinds <= {datetime.datetime, datetime.date} and column.codes is not None:
        return replace(column, is_date=True)
    return column


def sheet_of_new_rows(path: Path, sheet: str | None) -> str | None:
    """The sheet of a workbook of new rows, or their file in an archive: `sheet`, or the only one there is."""
    if sheet is None or not zipfile.is_zipfile(path):
        return sheet
    if (files := files_in_archive(path)) is not None:
        return None if len(files) == 1 else sheet
    with _opened(path) as book:
        return None if len(book.worksheets) == 1 else sheet


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The workbook at a path. Raises UserError if it is damaged, or openpyxl is not installed."""
    try:
        import openpyxl
    except ImportError:
        what = "workbooks need the package openpyxl, which is not installed"
        fix = "pip install 'dlrun[excel]', or save the sheet as CSV"
        raise UserError(what, where=str(path), fix=fix) from None
    try:
        with zipfile.ZipFile(path) as archive:
            refuse_beyond_memory(sum(each.file_size for each in archive.infolist()) * _TIMES, path)
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except UserError:
        raise
    except Exception as error:  # openpyxl raises whatever its XML parser and ZIP reader do
        said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UserError(f"this is not a complete workbook: {said}", where=str(path)) from None
    try:
        yield book
    finally:
        book.close()


def _sheet(path: Path, stated: str | None) -> tuple[_Rows, list[str], dict[str, Any]]:
    """The rows of a sheet with their numbers, a note if there are others, and its name as an option."""
    with _opened(path) as book:
        sheets = [sheet.title for sheet in book.worksheets]
        if not sheets:
            raise UserError("the workbook has no sheet", where=str(path))
        if stated is not None:
            chosen = _stated(sheets, stated, path)
            rows = _rows(book, chosen)
        else:
            each = ((name, _rows(book, name)) for name in sheets)
            tables = ((name, rows) for name, rows in each if _is_table(rows))
            chosen, rows = next(tables, None) or (sheets[0], _rows(book, sheets[0]))
        _refuse_formulas(path, chosen, rows)
    if stated is not None or len(sheets) == 1:
        return rows, [], {}
    rest = [sheet[:40] for sheet in sheets if sheet != chosen]
    others = ", ".join(rest[:3]) + (", …" if len(rest) > 3 else "")
    first = "the first" if chosen == sheets[0] else "the first with a table"
    note = f"the sheet {chosen[:40]} is read, {first} of {len(sheets)} (others: {others})"
    return rows, [note], {"sheet": chosen}


def _stated(sheets: Sequence[str], stated: str, path: Path) -> str:
    """The name of the sheet that is stated by its name, or by its number from 1."""
    if stated in sheets:
        return stated
    if stated.isdecimal() and 1 <= int(stated) <= len(sheets):
        return sheets[int(stated) - 1]
    what = f"there is no sheet {stated[:40]!r}{nearest(stated, sheets)}"
    raise UserError(what, where=str(path), fix="set sheet to one of these names, or to its number")


def _rows(book: Any, sheet: str) -> _Rows:
    return list(enumerate(book[sheet].iter_rows(values_only=True), 1))


def _is_table(rows: _Rows) -> bool:
    """True for a sheet that holds two rows, unlike the title of a cover."""
    filled = (line for line, row in rows if any(map(_said, row)))
    return len(list(islice(filled, 2))) == 2


def _refuse_formulas(path: Path, sheet: str, rows: _Rows) -> None:
    """Raise UserError for formulas whose values are not in the file, as a program has written them."""
    import openpyxl

    if not any(value is None for _, row in rows for value in row):
        return
    book = openpyxl.load_workbook(path, read_only=True)
    try:
        empty = [
            cell.coordinate
            for (_, row), cells in zip(rows, book[sheet].iter_rows(), strict=False)
            for value, cell in zip(row, cells, strict=False)
            if value is None and getattr(cell, "data_type", "") == "f"
        ]
    finally:
        book.close()
    if empty:
        what = f"{len(empty):,} formulas have no value in the file: {', '.join(empty[:3])}"
        fix = "open the workbook in a spreadsheet program, save it, and try again"
        raise UserError(what, where=str(path), fix=fix)


def _said(value: Any) -> str:
    """The text of a value in a workbook."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return said_number(float(value)) if isinstance(value, float) else str(value)
    if isinstance(value, datetime.datetime | datetime.date):
        return said_moment(value)
    return str(value).strip()
