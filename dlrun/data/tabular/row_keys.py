"""Keys of the rows of a table: equal rows have equal keys, whatever the order of columns and of rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from dlrun.data.composed import composed
from dlrun.data.hash_split import mixed
from dlrun.data.table_files.columns import Column, plain_number

_AT_ONCE = 2**15  # rows
_MISSING = np.uint64(0x6D697373696E67)

# The rule of keys, which a checkpoint keeps: a row has the same key as long as its cells have the same
# values, or by the rule of an earlier dlrun as long as they are written in the same way.
KeyRule = Literal["values", "cells"]


def key_rule(known: object) -> KeyRule:
    """The rule in a checkpoint, "cells" if it has none. Raises ValueError for another."""
    if known in get_args(KeyRule) or known is None:
        return known or "cells"  # type: ignore[return-value]
    raise ValueError("the stored rule of keys is none")


def row_keys(columns: Mapping[str, Column], read: Callable[[str], float] | None = None) -> Tensor:
    """The keys (n,) int64 of rows by their cells in some columns, each of which counts with its name.

    Numbers that are equal have the same key, even where one is held as a text: 1 and 1.0, or by `read`
    whatever it reads, such as 1,070 and 1070. With it texts count in Unicode's composed form, too, so that
    no key depends on how a file is written: its decimal mark and that between thousands, quotes, ends of
    lines, the encoding, the words for missing cells, the order of its columns. Columns of dates have to be
    given as numbers for that. What remains is what a text says: `Yes`, `yes` and `YES` are three, but True
    and true are one where a column has no other texts.
    """
    total = np.zeros(max(map(len, columns.values()), default=0), np.uint64)
    for name, column in columns.items():
        of_name = _of_text(f"column {name if read is None else composed(name)}")
        cells = _of_cells(column, read)
        for rows in _pieces(len(total)):
            total[rows] += mixed(cells[rows] ^ of_name)
    for rows in _pieces(len(total)):
        total[rows] = mixed(total[rows])
    return torch.from_numpy(total.view(np.int64))


def _pieces(n: int) -> Iterator[slice]:
    """Yield the places of some rows at a time, whose cells stay in the processor's cache."""
    return (slice(start, start + _AT_ONCE) for start in range(0, n, _AT_ONCE))


def _of_cells(column: Column, read: Callable[[str], float] | None) -> np.ndarray:
    """The keys (n,) uint64 of the cells of one column."""
    if column.codes is not None:
        texts = column.texts
        if read is not None and {text.lower() for text in texts} <= {"true", "false"}:
            texts = [text.lower() for text in texts]  # Parquet and workbooks have values, CSV their spelling
        each = [_of_cell(text, read) for text in texts]
        keys: np.ndarray = np.array([*each, _MISSING], np.uint64)[column.codes]
        return keys
    assert column.numbers is not None, "a column has numbers or codes"
    keys = _of_numbers(column.numbers)
    for row, text in column.odd.items():
        keys[row] = _of_cell(text, read)
    return keys


def _of_numbers(values: np.ndarray) -> np.ndarray:
    keys = np.empty(len(values), np.uint64)
    for rows in _pieces(len(values)):
        some = values[rows].astype(np.float64, copy=False) + 0.0  # -0.0 is 0.0
        keys[rows] = np.where(np.isnan(some), _MISSING, mixed(some.view(np.uint64)))
    return keys


def _of_cell(text: str, read: Callable[[str], float] | None) -> np.uint64:
    try:
        return np.uint64(_of_numbers(np.array([(read or plain_number)(text)]))[0])
    except ValueError:
        return _of_text(text if read is None else composed(text))


def _of_text(text: str) -> np.uint64:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))
