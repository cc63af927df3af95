"""Keys of the rows of a table: equal rows have equal keys, whatever the order of columns and of rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from dlrun.data.hash_split import mixed
from dlrun.data.table_files.columns import Column, plain_number

_MISSING = np.uint64(0x6D697373696E67)


def row_keys(columns: Mapping[str, Column]) -> Tensor:
    """The keys (n,) int64 of rows by their cells in some columns, each of which counts with its name.

    Numbers that are equal have the same key, even where one is held as a text: 1 and 1.0.
    """
    total = np.zeros(0, np.uint64)
    for name, column in columns.items():
        cells = mixed(_of_cells(column) ^ _of_text(f"column {name}"))
        with np.errstate(over="ignore"):
            total = cells if not len(total) else total + cells
    return torch.from_numpy(mixed(total).view(np.int64))


def _of_cells(column: Column) -> np.ndarray:
    """The keys (n,) uint64 of the cells of one column."""
    if column.codes is not None:
        keys: np.ndarray = np.array([*map(_of_cell, column.texts), _MISSING], np.uint64)[column.codes]
        return keys
    assert column.numbers is not None, "a column has numbers or codes"
    keys = _of_numbers(column.numbers)
    for row, text in column.odd.items():
        keys[row] = _of_cell(text)
    return keys


def _of_numbers(values: np.ndarray) -> np.ndarray:
    keys = mixed((values + 0.0).astype(np.float64).view(np.uint64))  # + 0.0: -0.0 is 0.0
    return np.where(np.isnan(values), _MISSING, keys)


def _of_cell(text: str) -> np.uint64:
    try:
        return np.uint64(_of_numbers(np.array([plain_number(text)]))[0])
    except ValueError:
        return _of_text(text)


def _of_text(text: str) -> np.uint64:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))
