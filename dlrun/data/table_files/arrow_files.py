"""Parquet and Feather files as tables: their columns have types, such as numbers, texts and dates."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dlrun.data.table_files.arrow_arrays import values_of
from dlrun.data.table_files.columns import LARGEST, Column, column_of, is_number
from dlrun.data.table_files.layouts import distinct_names, given_names
from dlrun.data.table_files.tables import Reading, Table, refuse_beyond_memory
from dlrun.errors import UserError

_PARQUET, _ARROW = b"PAR1", b"ARRO"
MAGIC = {_PARQUET: "a Parquet file", _ARROW: "a Feather file", b"FEA1": "a Feather file"}
_ROWS = 2**14  # that are read together
_BUFFER = 2**20  # bytes of a column in a Parquet file
_EXACT = 2**53  # whole numbers beyond it are rounded in float64
_INDEX = "__index_level_0__"  # the column in which pandas keeps an index without a name


def arrow_table(path: Path, reading: Reading, texts: Container[str]) -> Table:
    """The table in a Parquet or Feather file; rows are counted from 1.

    Raises UserError for a damaged file, and for one without rows. Columns of lists and other things that
    are no cells are passed over, and noted.
    """
    table = _opened(path)
    if not table.num_rows:
        raise UserError("the file has no rows", where=str(path))
    return _read(table, path, reading, texts)


def arrow_tables(path: Path, reading: Reading, texts: Container[str]) -> Iterator[Table]:
    """Yield the same rows in tables that are read one after the other, as far as the format allows it."""
    import pyarrow as pa

    first = 1
    for batch in _batches(path):
        for start in range(0, batch.num_rows, _ROWS):
            some = pa.Table.from_batches([batch.slice(start, _ROWS)])
            yield _read(some, path, reading, texts, first)
            first += some.num_rows
    if first == 1:
        raise UserError("the file has no rows", where=str(path))


def _read(table: Any, path: Path, reading: Reading, texts: Container[str], first: int = 1) -> Table:
    """The columns of an Arrow table, whose rows are counted from `first`."""
    notes: list[str] = []
    given = ["index" if name == _INDEX else name.strip() for name in table.column_names]
    names, said = distinct_names(given, str(path))
    if reading.columns:
        names, said = given_names(reading.columns, len(given), str(path)), []
    columns: dict[str, Column] = {}
    for name, chunked in zip(names, table.columns, strict=True):
        column = _column(chunked, reading, name in texts)
        if column is None:
            notes.append(f"{name[:40]} holds {str(chunked.type)[:40]}, which is no cell: passed over")
        else:
            columns[name] = column
            if _is_rounded(chunked):
                notes.append(f"{name[:40]} holds whole numbers beyond 2^53: they are rounded")
    if not columns:
        raise UserError("no column holds cells", where=str(path))
    return Table(str(path), columns, range(first, first + table.num_rows), [*said, *notes])


def _opened(path: Path) -> Any:
    import pyarrow.feather as pa_feather
    import pyarrow.parquet as pa_parquet

    magic = _magic(path)
    with _refused(path, magic):
        if magic == _PARQUET:
            file = pa_parquet.ParquetFile(path)
            refuse_beyond_memory(file.metadata.num_rows * file.metadata.num_columns * 8, path)
            return file.read()
        refuse_beyond_memory(path.stat().st_size, path)
        return pa_feather.read_table(str(path))


def _batches(path: Path) -> Iterator[Any]:
    """Yield the record batches of a file; one of the first version of Feather is read whole."""
    import pyarrow as pa
    import pyarrow.parquet as pa_parquet

    magic = _magic(path)
    with _refused(path, magic):
        if magic == _PARQUET:
            # unless it has a buffer, each column of a group of rows is read whole, and so is the next group
            with pa_parquet.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
                yield from file.iter_batches(_ROWS)
        elif magic == _ARROW:
            with pa.OSFile(str(path)) as raw, pa.ipc.open_file(raw) as file:
                for number in range(file.num_record_batches):
                    yield file.get_batch(number)
        else:
            yield from _opened(path).to_batches()


def _magic(path: Path) -> bytes:
    with path.open("rb") as raw:
        return raw.read(4)


@contextmanager
def _refused(path: Path, magic: bytes) -> Iterator[None]:
    """Turn the errors of a damaged file into UserErrors."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, EOFError) as error:
        said = str(error).splitlines()[0][:200]
        which = "Parquet" if magic == _PARQUET else "Feather"
        raise UserError(f"this is not a complete {which} file: {said}", where=str(path)) from None


def _column(chunked: Any, reading: Reading, as_text: bool) -> Column | None:
    """The column of an array in pieces; None if its type has no cells."""
    import pyarrow as pa

    kind = chunked.type
    if pa.types.is_dictionary(kind):
        chunked = chunked.cast(kind.value_type)
        kind = kind.value_type
    array = chunked.combine_chunks() if chunked.num_chunks != 1 else chunked.chunk(0)
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if is_number or pa.types.is_duration(kind):
        column = _numbers(array, reading)
        return column.as_texts() if as_text else column
    if pa.types.is_null(kind):
        return Column(np.full(len(array), np.nan))
    if pa.types.is_boolean(kind):
        return _texts(array, lambda value: "true" if value else "false", reading)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return replace(_texts(array, said_moment, reading), is_date=True)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        column = _texts(array, lambda value: str(value).strip(), reading)
        return column if as_text else column_of(column.cells(), reading.missing)
    return _texts(array, str, reading) if pa.types.is_time(kind) else None


def _numbers(array: Any, reading: Reading) -> Column:
    """A column of numbers; those that float32 cannot hold are odd, and durations are in seconds."""
    import pyarrow as pa

    parts = 1.0
    if pa.types.is_duration(array.type):
        parts = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[array.type.unit]
        array = array.cast(pa.int64())
    values = values_of(array.cast(pa.float64(), safe=False), np.float64, np.nan) / parts
    odd_rows = np.flatnonzero(np.abs(values) > LARGEST)
    odd = {int(row): repr(float(values[row])) for row in odd_rows}
    values[odd_rows] = np.nan
    values[np.isin(values, [float(text) for text in reading.na_values if is_number(text)])] = np.nan
    return Column(values, odd, is_typed=True)


def said_moment(value: Any) -> str:
    """A date or a time in ISO 8601: `2016-01-31`, or with the time where it is not midnight."""
    text = str(value.isoformat(" ")) if hasattr(value, "hour") else str(value.isoformat())
    return text.removesuffix(" 00:00:00")


def _texts(array: Any, said: Callable[[Any], str], reading: Reading) -> Column:
    """A column of texts, each said once."""
    encoded = array.dictionary_encode()
    texts = [said(value) for value in encoded.dictionary.to_pylist()]
    places: dict[str, int] = {}
    own = [-1 if text in reading.missing else places.setdefault(text, len(places)) for text in texts]
    codes = np.array([*own, -1], np.int32)[values_of(encoded.indices, np.int32, len(own))]
    return Column(codes=codes, texts=list(places))


def _is_rounded(chunked: Any) -> bool:
    import pyarrow as pa

    if not pa.types.is_integer(chunked.type) or chunked.type.bit_width < 64:
        return False
    import pyarrow.compute as pc

    least, largest = (bound.as_py() for bound in pc.min_max(chunked).values())
    return least is not None and max(-least, largest) > _EXACT
