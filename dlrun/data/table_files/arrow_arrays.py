"""Arrays of pyarrow as those of NumPy, by their buffers: pyarrow itself would import pandas, if there."""

from __future__ import annotations

from typing import Any

import numpy as np


def are_there(array: Any) -> np.ndarray:
    """True (n,) for each value that is not null."""
    bits = array.buffers()[0]
    if bits is None or not array.null_count:
        return np.ones(len(array), bool)
    flags = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")
    return flags[array.offset : array.offset + len(array)].astype(bool)


def values_of(array: Any, kind: type[np.generic], null: float) -> np.ndarray:
    """The values (n,) of an array whose type is `kind`, with `null` for those that are null."""
    if not len(array):
        return np.empty(0, kind)
    values = np.frombuffer(array.buffers()[1], kind)[array.offset : array.offset + len(array)]
    return np.where(are_there(array), values, kind(null)) if array.null_count else values
