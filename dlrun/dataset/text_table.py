"""Your own texts with a class or a number each, from a CSV file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from dlrun.config.options import Count, Fraction, Seed
from dlrun.data.examples import Data
from dlrun.data.table_files.tables import Reading
from dlrun.data.tabular.encoding import TableOptions
from dlrun.data.tabular.table import file_table
from dlrun.data.tabular.text_tables import TextTableOptions, text_table_data

# The options that an earlier dlrun did not have mean what it did.
of_earlier_runs = {"read": "strict", "split_rule": "drawn"}
# The options that have an effect on a trained model; its checkpoint has settled the others.
at_evaluation = ("path", "unit", "read", "missing")


def text_table(
    root: Path,
    known: Mapping[str, Any] | None = None,
    *,
    path: str,
    text: str,
    target: str,
    task: Literal["classification", "regression"] = "classification",
    unit: str = "",
    read: Literal["guess", "strict"] = "guess",
    tokens: Literal["words", "characters", "bytes"] = "words",
    lowercase: bool = True,
    length: Count = 200,
    vocabulary: Count = 10_000,
    missing: Literal["refuse", "drop"] = "refuse",
    scale_target: bool = False,
    split_rule: Literal["hash", "drawn"] = "hash",
    test_fraction: Fraction = 0.2,
    valid_fraction: Fraction = 0.1,
    seed: Seed = 0,
) -> Data:
    """The texts in a column of a CSV file, as ids of their tokens; a class or a number is predicted.

    `path` is looked for in the working directory, beside the config and in the data folder. `text` and
    `target` name columns; others are not used. A text is cut into `tokens`: words and punctuation marks,
    characters, or bytes of UTF-8, with `lowercase` without capital letters. The model is given the first
    `length` of them, and how many texts have more is reported; a shorter text is filled up with id 0. The
    vocabulary are the `vocabulary` most frequent tokens of the training split; any other has id 1.

    A cell is missing if it is empty, NA, N/A, n/a, NaN, nan, NULL or null; `missing: drop` leaves such rows
    out. `task`, `unit`, `read` and `scale_target` are as for csv, and so are the splits: a hash of each row
    decides on its split, so that none changes it when others are added. `test_fraction` of the rows of each
    class are the test split, `valid_fraction` of the rest the validation split; `seed` chooses another hash.
    """
    reading = Reading(is_strict=read == "strict")
    table = TableOptions(
        target=target,
        task=task,
        unit=unit,
        missing=missing,
        scale_target=scale_target,
        split="random",
        split_rule=split_rule,
        reading=reading,
        test_fraction=test_fraction,
        valid_fraction=valid_fraction,
        seed=seed,
    )
    options = TextTableOptions(text, tokens, lowercase, length, vocabulary, table)
    return text_table_data(partial(file_table, path, root, [text, *table.texts], reading), options, known)
