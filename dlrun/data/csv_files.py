"""Files as tables: read strictly as CSV, or as they seem to be meant, with each guess noted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from dlrun.data.csv_blocks import Irregular, blocks
from dlrun.data.csv_rows import BodyReader
from dlrun.data.dialects import Row, separator_called
from dlrun.data.gathered_columns import Cells, Gathered, Memory, MustBeText, Piece, Store, pieces_of
from dlrun.data.layouts import Layout, layout_of
from dlrun.data.packed_files import PackedFile
from dlrun.data.parsed_tables import Parsing, StoreOf, parsed_once
from dlrun.data.strict_csv import strict_rows
from dlrun.data.tables import STRICT, Reading, Table
from dlrun.data.text_encodings import FIX, TextFile, text_file
from dlrun.errors import UserError
from dlrun.system import machine
from dlrun.system.files import size_text

_BYTES_OF_A_CELL = 8  # as float64
_LARGE = 2**21  # bytes: a file that is read sooner by pyarrow, which takes a moment to load
_KEPT = 2**24  # bytes: a file that is worth to be kept parsed
_NO_TABLES = {  # first bytes of files that are no CSV
    b"\xd0\xcf\x11\xe0": "a workbook (.xls)",
    b"PAR1": "a Parquet file",
}


def read_table(
    path: Path, reading: Reading = STRICT, texts: Collection[str] = (), cache: Path | None = None
) -> Table:
    """Read the table in a CSV file, which may be packed by gzip, bzip2, xz or ZIP.

    The columns of `texts` keep their texts even if they are numbers, such as 01. With a folder `cache` a
    file of 16 MiB and more is kept there parsed.

    Read strictly, it is RFC 4180 in UTF-8 with or without byte order mark, as far as the options of
    `reading` do not say otherwise: the first row names the columns, blank lines are ignored. Raises
    UserError, with the line, if the file is missing or is not such a table.
    """
    file = PackedFile.at(path, reading.sheet)
    with file.opened() as raw:
        start = raw.read(4)
    if start in _NO_TABLES:
        raise UserError(f"this is {_NO_TABLES[start]}, not a CSV file", where=str(path), fix=FIX)
    read = partial(_strict if reading.is_strict else _guessed, file, reading, texts)
    if cache is None or not _has(file, _KEPT):
        return read(Memory.of)
    options = asdict(reading) | {"texts": sorted(texts), "member": file.member}
    return parsed_once(Parsing(path, options, cache), read)


def _strict(file: PackedFile, reading: Reading, texts: Collection[str], store_of: StoreOf) -> Table:
    """A table that is read as the options state it."""
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
    return _table(text, layout, by_rows, reading, texts, store_of)


def _guessed(file: PackedFile, reading: Reading, texts: Collection[str], store_of: StoreOf) -> Table:
    """A table that is read as it seems to be meant."""
    text = text_file(file, reading.encoding)
    layout, bodies = layout_of(text, reading), list[BodyReader]()

    def by_rows() -> Iterator[Row]:
        bodies[:] = [BodyReader(layout)]
        return bodies[0].rows_of_text(text)

    table = _table(text if _has(file, _LARGE) else None, layout, by_rows, reading, texts, store_of)
    return replace(
        table,
        notes=[*layout.notes, *(note for body in bodies for note in body.notes)],
        guessed=layout.guessed,
    )


def _has(file: PackedFile, size: int) -> bool:
    """True for a file of so many bytes; of a packed one an eighth is enough."""
    return file.path.stat().st_size >= (size // 8 if file.packing else size)


def _table(
    text: TextFile | None,
    layout: Layout,
    by_rows: Callable[[], Iterator[Row]],
    reading: Reading,
    texts: Collection[str],
    store_of: StoreOf,
) -> Table:
    """The table of a layout: of a large `text` in blocks as far as it is regular, else by its rows."""
    cells = Cells(reading.missing, layout.read, texts)
    if text is not None:
        _refuse_beyond_memory(text.most_lines * len(layout.names), layout.source)
        by_blocks = partial(blocks, text, layout, is_strict=reading.is_strict)
        store = store_of(len(layout.names), text.most_lines)
        with suppress(Irregular):
            return _gathered(by_blocks, layout, cells, store)
    return _gathered(lambda cells: pieces_of(by_rows(), layout.names, cells), layout, cells, None)


def _gathered(
    read: Callable[[Cells], Iterable[Piece]], layout: Layout, cells: Cells, store: Store | None
) -> Table:
    """The table of all pieces; they are read again if columns turn out to hold texts."""
    gathered = Gathered(layout.names, cells, store)
    for piece in read(cells):
        gathered.add(piece)
        _refuse_beyond_memory(gathered.rows * len(layout.names), layout.source)
    if not gathered.rows:
        raise UserError("the file has a header but no rows", where=layout.source)
    try:
        return Table(layout.source, gathered.columns(), gathered.lines)
    except MustBeText as error:
        return _gathered(read, layout, replace(cells, texts={*cells.texts, *error.names}), store)


def _refuse_beyond_memory(cells: int, source: str) -> None:
    """Raise UserError for a table that takes more than the memory of the machine."""
    if cells * _BYTES_OF_A_CELL > machine.memory():
        what = f"the table takes more than {size_text(machine.memory())}, which is all memory"
        raise UserError(what, where=source, fix="leave out rows or columns")


def cell(value: Any) -> Any:
    """A value for a CSV file; an apostrophe goes before text that a spreadsheet would run as a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value
