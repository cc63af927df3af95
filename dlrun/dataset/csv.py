"""Your own table, from a CSV file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from dlrun.config.options import Fraction, Seed
from dlrun.data.examples import Data
from dlrun.data.table import file_table, table_data
from dlrun.data.table_encoding import TableOptions


def csv(
    root: Path,
    known: Mapping[str, Any] | None = None,
    *,
    path: str,
    target: str,
    task: Literal["regression", "classification"] = "regression",
    unit: str = "",
    categorical: Sequence[str] = (),
    unknown: Literal["refuse", "zeros"] = "refuse",
    date: Sequence[str] = (),
    date_cycles: Sequence[Literal["year", "week", "day"]] = (),
    ignore: Sequence[str] = (),
    baselines: dict[str, str] | None = None,
    missing: Literal["refuse", "drop", "fill"] = "refuse",
    standardise: bool = True,
    scale_target: bool = False,
    split: Literal["chronological", "random"] | None = None,
    test_fraction: Fraction = 0.2,
    valid_fraction: Fraction = 0.0,
    seed: Seed = 0,
) -> Data:
    """The rows of a CSV file: a number (in `unit`) or a class is predicted from the other columns.

    `path` is looked for in the working directory, beside the config and in the data folder. Every column
    except the `target` and those listed in `ignore` is an input: a number, or for columns listed in
    `categorical` a one-hot vector over the texts in the training rows. Any other text is refused, or with
    `unknown: zeros` becomes all zeros.

    `date` is one column, of ISO 8601 (2016-01-31, 2016-01-31 12:00, UTC unless it says otherwise), or
    three: year, month and day, which stay inputs; a single date column does not. `date_cycles` adds the
    sine and cosine of the time within the year, the week or the day. `baselines` maps names of your choice
    to columns that guess the target; these stay inputs unless ignored.

    A cell is missing if it is empty, NA, N/A, n/a, NaN, nan, NULL or null, and unreadable if it should hold
    a number or a date and does not. `missing: drop` leaves such rows out, fill takes the mean of the
    training rows or no category; a row without a target or a date is left out either way.

    With `standardise` numbers have mean 0 and standard deviation 1 over the training rows. With
    `scale_target` the loss sees a target standardised in the same way, while metrics stay in its unit. The
    split is chronological if there is a date: the last `test_fraction` of the rows are the test split, and
    the last `valid_fraction` of the rest the validation split. Otherwise both are drawn by `seed`,
    stratified by class.
    """
    options = TableOptions(
        target=target,
        task=task,
        unit=unit,
        categorical=categorical,
        unknown=unknown,
        date=date,
        date_cycles=date_cycles,
        ignore=ignore,
        baselines=baselines or {},
        missing=missing,
        standardise=standardise,
        scale_target=scale_target,
        split=split,
        test_fraction=test_fraction,
        valid_fraction=valid_fraction,
        seed=seed,
    )
    return table_data(partial(file_table, path, root, options.texts), options, known)
