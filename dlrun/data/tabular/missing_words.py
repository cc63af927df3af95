"""Words for a cell without value, such as `k.A.`, in columns of numbers and dates of a file of new rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from dlrun.data.tabular.cells import Cells, Trouble
from dlrun.data.tabular.column_kinds import is_meant_as_nothing
from dlrun.data.tabular.refusals import some_columns

Words = dict[str, list[str]]  # the columns in which each word stands


def read_as_missing(cells: Cells) -> Words:
    """Note cells as missing that training would have read so; gives their texts.

    The words that training itself has met are options by then; a file may hold others of the same meaning.
    """
    words: Words = {}
    missing, odd = dict(cells.trouble.missing), dict(cells.trouble.odd)
    for column, texts in cells.trouble.odd.items():
        if column not in cells.numbers and column not in cells.moments:
            continue
        nothing = {row: text for row, text in texts.items() if is_meant_as_nothing(text)}
        for text in dict.fromkeys(nothing.values()):
            words.setdefault(text, []).append(column)
        if nothing:
            rows = np.array(list(nothing), np.int64)
            missing[column] = np.union1d(missing.get(column, rows), rows)
            odd[column] = {row: text for row, text in texts.items() if row not in nothing}
    cells.trouble = Trouble(missing, odd)
    return words


def said_words(words: Mapping[str, Iterable[str]]) -> str:
    """A note on words that are read as missing, with the columns in which they stand."""
    said = [f"{word!r} (in {some_columns(list(names))})" for word, names in words.items()]
    return f"read as missing: {some_columns(said)}"
