"""CSV files in blocks of a MiB, parsed by pyarrow: much faster than by the csv module, the same cells.

The csv module reads what pyarrow would read otherwise, or not at all: then Irregular is raised.
"""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from dlrun.data.table_files.arrow_arrays import are_there, values_of
from dlrun.data.table_files.columns import LARGEST, Column, number, padded_length
from dlrun.data.table_files.csv_rows import is_sum
from dlrun.data.table_files.dialects import WHITESPACE
from dlrun.data.table_files.gathered_columns import CellReading, Piece
from dlrun.data.table_files.headers import COMMENT
from dlrun.data.table_files.layouts import Layout
from dlrun.data.table_files.text_encodings import INVISIBLE, TextFile
from dlrun.system import machine

_BLOCK = 2**20  # bytes: larger ones are requested from the system and given back each time
_MOST_THREADS = 4  # that parse blocks; one more looks for their rows
_MOST_WITHOUT_END = 2**26  # bytes of a row: a quote may never be closed
_LONGEST_CELL = 131_072  # characters, as in the csv module
_HIDDEN = tuple(sign.encode() for sign in INVISIBLE)
_QUOTE, _NEWLINE = ord('"'), ord("\n")


class Irregular(Exception):
    """The csv module has to read a text: it has a mistake, or something that is no row."""


def blocks(
    text: TextFile, layout: Layout, cells: CellReading, *, is_strict: bool, size: int | None = None
) -> Iterator[Piece]:
    """Yield the rows of a text in pieces. Raises Irregular as soon as there is anything but rows."""
    import pyarrow as pa

    if layout.separator == WHITESPACE or len(layout.separator.encode()) != 1:
        raise Irregular
    last, parse = Piece((), ()), _Parser(layout, cells, is_strict)
    threads = min(_MOST_THREADS, machine.cores())
    with text.file.opened() as raw, ThreadPoolExecutor(threads) as pool:
        ahead = deque[Future[Piece]]()
        for chunk, starts in _chunks(
            _utf8(raw, text.encoding, size or _BLOCK), layout.first, layout.separator
        ):
            if not len(starts) and layout.width > 1:  # nothing but blank lines
                continue
            ahead.append(pool.submit(parse, chunk, starts, last.columns))
            if len(ahead) > threads or not last.columns:  # of the first one nothing is known
                yield (last := ahead.popleft().result())
        while ahead:
            yield (last := ahead.popleft().result())
    pa.system_memory_pool().release_unused()
    if last.columns and not is_strict and is_sum([last.columns[0].cell(len(last.lines) - 1), ""]):
        raise Irregular


@dataclass(frozen=True)
class _Parser:
    """A parser of blocks, of which several are parsed at a time."""

    layout: Layout
    cells: CellReading
    is_strict: bool

    def __call__(self, chunk: bytes, starts: Sequence[int], before: Sequence[Column]) -> Piece:
        """The rows of a block, faster if its columns are of the same kinds as those of a block `before`."""
        layout, cells = self.layout, self.cells
        figures = {at for at, column in enumerate(before) if column.codes is None and not column.odd}
        words = {layout.names[at] for at in range(len(before)) if at not in figures}
        whole = {at for at in figures if not before[at].has_fractions}
        if whole and _may_hold_codes(chunk, layout.separator):  # only a text tells 007 from 7
            figures -= whole
        arrays = _parsed(chunk, layout, cells, figures, has_newlines=not isinstance(starts, range))
        if len(arrays[0]) != len(starts):
            raise Irregular  # such as a line of spaces
        if not self.is_strict:
            _refuse_others(chunk, arrays, layout)
        columns = [
            column_of_array(array, cells, as_text=name in cells.texts, are_words=name in words)
            for name, array in zip(layout.names, arrays, strict=False)
        ]
        return Piece(starts, columns)


def _utf8(raw: IO[bytes], encoding: str, size: int) -> Iterator[bytes]:
    """Yield the bytes of a file in UTF-8, without a mark at the beginning."""
    if encoding == "utf-8-sig":
        start = raw.read(size)
        yield start.removeprefix(codecs.BOM_UTF8)
        while piece := raw.read(size):
            yield piece
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    while piece := raw.read(size):
        yield decoder.decode(piece).encode()


def _chunks(pieces: Iterator[bytes], first: int, separator: str) -> Iterator[tuple[bytes, Sequence[int]]]:
    """Yield whole rows from the line `first` on, and the lines on which they begin: a range for one each."""
    rest, line = b"", 1
    for piece in pieces:
        rest += piece
        if len(rest) > _MOST_WITHOUT_END:
            raise Irregular
        while line < first and (end := rest.find(b"\n")) >= 0:
            if _has_lone_carriages(rest[: end + 1]):
                raise Irregular
            rest, line = rest[end + 1 :], line + 1
        if line == first and (cut := _last_end(rest)):
            chunk, rest = rest[:cut], rest[cut:]
            starts, lines = _starts(chunk, line, separator)
            yield chunk, starts
            line = first = line + lines
    if line < first:  # such as in a file whose lines end with a carriage return
        raise Irregular
    if rest:
        starts, _ = _starts(rest + b"\n", line, separator)
        yield rest + b"\n", starts


def _ends(chunk: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The places of all newlines in a chunk that begins outside of quotes, and True for those outside."""
    signs = np.frombuffer(chunk, np.uint8)
    newlines, quotes = np.flatnonzero(signs == _NEWLINE), np.flatnonzero(signs == _QUOTE)
    return newlines, np.searchsorted(quotes, newlines) % 2 == 0


def _last_end(chunk: bytes) -> int:
    """The place behind the last newline that ends a row, 0 if there is none."""
    if b'"' not in chunk:
        return chunk.rfind(b"\n") + 1
    newlines, are_outside = _ends(chunk)
    outside = newlines[are_outside]
    return int(outside[-1]) + 1 if len(outside) else 0


def _starts(chunk: bytes, line: int, separator: str) -> tuple[Sequence[int], int]:
    """The lines on which the rows of a chunk begin, the first of which is `line`, and the number of lines.

    Raises Irregular for quotes and carriage returns that are no part of plain CSV.
    """
    if _has_lone_carriages(chunk):
        raise Irregular
    newlines, are_outside = _ends(chunk)
    if b'"' in chunk:
        _refuse_stray_quotes(chunk, separator)
    starts = np.concatenate([[0], newlines[:-1] + 1])
    lengths = newlines - starts
    if b"\r" in chunk:
        lengths -= np.frombuffer(chunk, np.uint8)[np.maximum(newlines - 1, 0)] == ord("\r")
    are_rows = np.concatenate([[True], are_outside[:-1]]) & (lengths > 0)
    if are_rows.all():
        return range(line, line + len(newlines)), len(newlines)
    return (line + np.flatnonzero(are_rows)).tolist(), len(newlines)


def _has_lone_carriages(chunk: bytes) -> bool:
    """True if a carriage return stands elsewhere than before a newline."""
    return chunk.count(b"\r") != chunk.count(b"\r\n")


def _refuse_stray_quotes(chunk: bytes, separator: str) -> None:
    """Raise Irregular if a quote opens within a cell, or something follows where it closes."""
    signs = np.frombuffer(b"\n" + chunk, np.uint8)
    quotes = np.flatnonzero(signs == _QUOTE)
    if len(quotes) % 2:
        raise Irregular
    opens, closes = signs[quotes[::2] - 1], signs[quotes[1::2] + 1]  # a chunk ends with a newline
    between = (_QUOTE, _NEWLINE, ord(separator))  # a quote before an opening one closes: they are a quote
    if not np.isin(opens, between).all() or not np.isin(closes, (*between, ord("\r"))).all():
        raise Irregular


def _parsed(
    chunk: bytes, layout: Layout, cells: CellReading, figures: Collection[int], *, has_newlines: bool
) -> list[Any]:
    """The columns of a chunk as arrays of numbers, if they are `figures`, or texts; null where missing.

    Raises Irregular for a row that does not fit.
    """
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    names = [str(place) for place in range(layout.width)]
    types = {name: pa.float64() if at in figures else pa.string() for at, name in enumerate(names)}
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(chunk),
            # Threads of pyarrow's own that have just begun abort a process that ends then.
            pa_csv.ReadOptions(column_names=names, block_size=len(chunk) + 1, use_threads=False),
            pa_csv.ParseOptions(
                delimiter=layout.separator,
                newlines_in_values=has_newlines,
                ignore_empty_lines=len(names) > 1,  # of a single column such a line has no value
            ),
            pa_csv.ConvertOptions(
                column_types=types,
                null_values=sorted(cells.missing),
                strings_can_be_null=True,
                check_utf8=False,
                decimal_point=layout.decimal,
            ),
            memory_pool=pa.system_memory_pool(),  # what it frees, others use
        )
    except pa.ArrowInvalid:
        if figures:
            return _parsed(chunk, layout, cells, (), has_newlines=has_newlines)
        raise Irregular from None
    arrays = [column.combine_chunks() for column in table.columns]
    if not all(_are_plain(arrays[at]) for at in figures):
        return _parsed(chunk, layout, cells, (), has_newlines=has_newlines)
    return arrays


def _refuse_others(chunk: bytes, arrays: Sequence[Any], layout: Layout) -> None:
    """Raise Irregular for what may be no row: a remark, nothing but empty cells, the header again."""
    import pyarrow.compute as pc

    if not chunk.isascii() and any(sign in chunk for sign in _HIDDEN):
        raise Irregular
    if any(array.null_count < len(array) for array in arrays[len(layout.names) :]):
        raise Irregular
    if not _is_figures(arrays[0]) and pc.any(pc.starts_with(_stripped(arrays[0]), COMMENT)).as_py():
        raise Irregular
    if (at := layout.telling) is not None and at < len(arrays):
        name = layout.header[at]
        if not _is_figures(arrays[at]) and pc.any(pc.equal(_stripped(arrays[at]), name)).as_py():
            raise Irregular
    are_empty = _are_empty(arrays[0])
    for array in arrays[1:]:
        if not are_empty.any():
            return
        are_empty &= _are_empty(array)
    if are_empty.any():
        raise Irregular


def _are_empty(array: Any) -> np.ndarray:
    """True for each cell of a column that is missing, or nothing but white space."""
    import pyarrow.compute as pc

    if not _is_figures(array):
        stripped = _stripped(array)
        array = pc.if_else(pc.equal(stripped, ""), None, stripped)
    return ~are_there(array)


def _stripped(array: Any) -> Any:
    """Texts without white space around them."""
    import pyarrow.compute as pc

    return pc.utf8_trim_whitespace(array)


def column_of_array(array: Any, cells: CellReading, *, as_text: bool, are_words: bool = False) -> Column:
    """The column of an array of numbers or texts, as `column_of` gives it of their list.

    `are_words` saves the trial if all are numbers, for they are probably not.
    """
    if _is_figures(array):
        return Column(values_of(array, np.float64, np.nan))
    if not as_text and not are_words and (figures := _figures(array, cells)) is not None:
        return Column(values_of(figures, np.float64, np.nan), padded=_padded_length(array))
    encoded = array.dictionary_encode()
    stripped = [text.strip() for text in encoded.dictionary.to_pylist()]
    if any(len(text) > _LONGEST_CELL for text in stripped):
        raise Irregular
    places: dict[str, int] = {}
    own = [-1 if text in cells.missing else places.setdefault(text, len(places)) for text in stripped]
    codes = np.array([*own, -1], np.int32)[values_of(encoded.indices, np.int32, len(own))]
    column = Column(codes=codes, texts=list(places))
    if as_text:
        return column
    is_number = 2 * column.odd_cells(cells.plain) <= int((codes >= 0).sum())
    return column.as_numbers(cells.plain) if is_number else column


def _figures(array: Any, cells: CellReading) -> Any:
    """An array of texts as numbers, null where missing; None if one of them is no plain number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if cells.read is not number:
        if pc.any(pc.match_substring(array, ".")).as_py():
            return None
        array = pc.replace_substring(array, ",", ".")
    try:
        figures = pc.cast(array, pa.float64())
    except pa.ArrowInvalid:
        return None
    return figures if _are_plain(figures) else None


def _padded_length(array: Any) -> int:
    """The length of the longest whole number with a zero in front in an array of texts, or 0."""
    import pyarrow.compute as pc

    found = array.filter(pc.match_substring_regex(array, r"^\s*0[0-9]")).unique().to_pylist()
    return padded_length(map(str.strip, found))


def _may_hold_codes(chunk: bytes, separator: str) -> bool:
    """True if a cell of a chunk may be a whole number of three digits or more with a zero in front."""
    before = (b"\n", b'"', b" ", separator.encode())  # a pattern that begins with a fixed sign is found fast
    code = rb"0[0-9][0-9]"
    return bool(re.match(code, chunk)) or any(re.search(re.escape(sign) + code, chunk) for sign in before)


def _are_plain(figures: Any) -> bool:
    """True if all numbers are finite and no larger than float32 can hold."""
    values = values_of(figures, np.float64, 0.0)
    return not len(values) or bool(values.min() >= -LARGEST and values.max() <= LARGEST)  # not of nan


def _is_figures(array: Any) -> bool:
    import pyarrow as pa

    return bool(array.type == pa.float64())
