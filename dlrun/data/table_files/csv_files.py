"""Files as tables: read strictly as CSV, or as they seem to be meant, with each guess noted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from dlrun.data.table_files.arrow_files import MAGIC, arrow_table
from dlrun.data.table_files.columns import TextColumns, is_number
from dlrun.data.table_files.csv_blocks import Irregular, blocks
from dlrun.data.table_files.csv_rows import BodyReader
from dlrun.data.table_files.dialects import Row, separator_called
from dlrun.data.table_files.gathered_columns import (
    CellReading,
    Gathered,
    Memory,
    MustBeText,
    Piece,
    Store,
    pieces_of,
)
from dlrun.data.table_files.joined_files import files_of, joined_table
from dlrun.data.table_files.layouts import Layout, layout_of
from dlrun.data.table_files.packed_files import WORKBOOK, PackedFile
from dlrun.data.table_files.parsed_tables import Parsing, StoreOf, parsed_once
from dlrun.data.table_files.strict_csv import strict_rows
from dlrun.data.table_files.tables import STRICT, Reading, Table, refuse_beyond_memory
from dlrun.data.table_files.text_encodings import TextFile, text_file
from dlrun.data.table_files.workbooks import workbook_table
from dlrun.errors import UserError

_BYTES_OF_A_CELL = 8  # as float64
_LARGE = 2**21  # bytes: a file that is read sooner by pyarrow, which takes a moment to load
_KEPT = 2**24  # bytes: a file that is worth to be kept parsed
_OLD_WORKBOOK = b"\xd0\xcf\x11\xe0"  # its first bytes


def read_table(
    path: Path | Sequence[Path],
    reading: Reading = STRICT,
    texts: Iterable[str] | TextColumns = (),
    cache: Path | None = None,
) -> Table:
    """Read the table in a file of CSV, which may be packed, of Parquet or Feather, or a workbook.

    Several files, or all that match a pattern such as `data/*.csv`, are one table. The columns of `texts`
    keep their texts even if they are numbers, such as 01. With a folder `cache` a CSV file of 16 MiB and
    more is kept there parsed.

    Read strictly, CSV is RFC 4180 in UTF-8 with or without byte order mark, as far as the options of
    `reading` do not say otherwise: the first row names the columns, blank lines are ignored. Raises
    UserError, with the line, if the file is missing or is not such a table.
    """
    files, kept = files_of(path), texts if isinstance(texts, TextColumns) else TextColumns() | texts
    if len(files) == 1:
        return _one_table(files[0], reading, kept, cache)
    source = str(path) if isinstance(path, Path) else f"{files[0]} and {len(files) - 1:,} more"
    return joined_table(source, files, lambda file, texts: _one_table(file, reading, texts, cache), kept)


def _one_table(path: Path, reading: Reading, texts: TextColumns, cache: Path | None) -> Table:
    """The table in one file."""
    file = PackedFile.at(path, reading.sheet)
    kind = format_of(file)
    if kind == "workbook":
        return workbook_table(path, reading, texts)
    if kind == "arrow":
        return arrow_table(path, reading, texts)
    read = partial(_text_table, file, reading, texts)
    if cache is None or not _has(file, _KEPT):
        return read(Memory.of)
    options = asdict(reading) | {"texts": texts.are_all or sorted(texts.names), "member": file.member}
    return parsed_once(Parsing(path, options, cache), read)


def format_of(file: PackedFile) -> Literal["workbook", "arrow", "csv"]:
    """The format of a file by its first bytes. Raises UserError for one that cannot be read."""
    if file.packing == WORKBOOK:
        return "workbook"
    with file.opened() as raw:
        start = raw.read(4)
    if start in MAGIC and not file.packing:
        return "arrow"
    if start in MAGIC or start == _OLD_WORKBOOK:
        what = f"{MAGIC[start]} in an archive" if start in MAGIC else "a workbook (.xls)"
        fix = "unpack it" if start in MAGIC else "save it as .xlsx, or as CSV in UTF-8"
        raise UserError(f"this is {what}, not a CSV file", where=str(file.path), fix=fix)
    return "csv"


@dataclass(frozen=True)
class TextRows:
    """The rows of a CSV file whose layout is known; `text` is that of a large one, to be read in blocks.

    `bodies` has the last reader of the rows, if the layout was guessed.
    """

    layout: Layout
    by_rows: Callable[[], Iterator[Row]]
    text: TextFile | None
    bodies: Sequence[BodyReader] = ()

    def rows_behind(self, count: int) -> Iterator[Row]:
        """The rows without the first ones."""
        return islice(self.by_rows(), count, None)


def text_rows(file: PackedFile, reading: Reading) -> TextRows:
    """The rows of a CSV file, read as the options state it, or as it seems to be meant."""
    return _strict(file, reading) if reading.is_strict else _guessed(file, reading)


def _strict(file: PackedFile, reading: Reading) -> TextRows:
    rows = strict_rows(file, reading)
    _, names = next(rows)
    first, _ = next(rows)
    separator = "," if reading.separator == "auto" else separator_called(reading.separator)
    decimal = "." if reading.decimal == "auto" else reading.decimal
    layout = Layout(str(file.path), separator, decimal, tuple(names), first, len(names))

    def by_rows() -> Iterator[Row]:
        return islice(strict_rows(file, reading), 1, None)

    text = None
    if _has(file, _LARGE):
        with suppress(UserError):  # which row is wrong is said by the csv module
            text = text_file(file, "utf-8" if reading.encoding == "auto" else reading.encoding)
    return TextRows(layout, by_rows, text)


def _guessed(file: PackedFile, reading: Reading) -> TextRows:
    text = text_file(file, reading.encoding)
    layout, bodies = layout_of(text, reading), list[BodyReader]()

    def by_rows() -> Iterator[Row]:
        bodies[:] = [BodyReader(layout)]
        return bodies[0].rows_of_text(text)

    return TextRows(layout, by_rows, text if _has(file, _LARGE) else None, bodies)


def _has(file: PackedFile, size: int) -> bool:
    """True for a file of so many bytes; of a packed one an eighth is enough."""
    return file.path.stat().st_size >= (size // 8 if file.packing else size)


def _text_table(file: PackedFile, reading: Reading, texts: TextColumns, store_of: StoreOf) -> Table:
    """The table in a CSV file with the notes on it."""
    rows = text_rows(file, reading)
    table = _table(rows, reading, texts, store_of)
    notes = [*rows.layout.notes, *(note for body in rows.bodies for note in body.notes)]
    return replace(table, notes=notes, guessed=rows.layout.guessed)


def _table(rows: TextRows, reading: Reading, texts: TextColumns, store_of: StoreOf) -> Table:
    """The table of some rows: of a large text in blocks if it is regular, else row by row."""
    layout, text, cells = rows.layout, rows.text, CellReading(reading.missing, rows.layout.read, texts)
    if text is not None:
        refuse_beyond_memory(text.most_lines * len(layout.names) * _BYTES_OF_A_CELL, layout.source)
        by_blocks = partial(blocks, text, layout, is_strict=reading.is_strict)
        store = store_of(len(layout.names), text.most_lines)
        with suppress(Irregular):
            return _gathered(by_blocks, layout, cells, store)
    return _gathered(lambda cells: pieces_of(rows.by_rows(), layout.names, cells), layout, cells, None)


def _gathered(
    read: Callable[[CellReading], Iterable[Piece]], layout: Layout, cells: CellReading, store: Store | None
) -> Table:
    """The table of all pieces; they are read again if columns turn out to hold texts."""
    gathered = Gathered(layout.names, cells, store)
    for piece in read(cells):
        gathered.add(piece)
        refuse_beyond_memory(gathered.rows * len(layout.names) * _BYTES_OF_A_CELL, layout.source)
    if not gathered.rows:
        raise UserError("the file has a header but no rows", where=layout.source)
    try:
        return Table(layout.source, gathered.columns(), gathered.lines)
    except MustBeText as error:
        return _gathered(read, layout, replace(cells, texts=cells.texts | error.names), store)


def cell(value: Any) -> Any:
    """A value for a CSV file; an apostrophe goes before text that a spreadsheet would run as a formula."""
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t"))
    return f"'{value}" if is_formula and not is_number(value) else value
