"""Your own texts with a class or a number each, from a CSV file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from dlrun.config.options import Count, Fraction, Seed
from dlrun.data.examples import Data
from dlrun.data.folds import Fold
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
    fold: Fold | None = None,
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

    A cell is missing if it is empty, NA, N/A, n/a, NaN, nan, NULL or null. A hash of each row decides on its
    split, as for csv, so that none changes it when others are added.

    Args:
        path: File to read, looked for in the working directory, beside the config and in the data folder.
        text: Column of the texts; columns that are neither this nor the target are not used.
        target: Column of the classes or numbers to predict.
        task: Prediction of one of several classes (classification) or of a number (regression).
        unit: Unit of the target in a regression.
        read: Guesses at separator, header and encoding, which are said (guess), or none (strict), as for csv.
        tokens: Pieces that a text is cut into: words and punctuation marks, characters, or bytes of UTF-8.
        lowercase: Write capital letters small first.
        length: Tokens of a text that the model is given, the first ones; how many texts have more is
            reported, and a shorter text is filled up with id 0.
        vocabulary: Most frequent tokens of the training split that have an id; any other token has id 1.
        missing: Treatment of missing cells: refuse the file, or drop such rows.
        scale_target: Let the loss of a regression see a target with mean 0 and standard deviation 1, while
            metrics stay in its unit.
        split_rule: Way of choosing rows: by hash, or drawn by number as earlier versions did.
        test_fraction: Share of the rows of each class that becomes the test split.
        valid_fraction: Share of the rest that becomes the validation split.
        seed: Choice of another hash, and so of other test and validation rows.

    Example:
        dataset: {name: text_table, path: reviews.csv, text: review, target: stars}
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
        fold=fold,
    )
    options = TextTableOptions(text, tokens, lowercase, length, vocabulary, table)
    return text_table_data(partial(file_table, path, root, [text, *table.texts], reading), options, known)
