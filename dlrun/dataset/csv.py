"""A table of one's own."""

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
    """The rows of a CSV file: a number (in `unit`) or a class to be learnt from the other columns.

    `path` is absolute, or relative to the working directory or else to the data folder. Every column
    but the `target` and those that `ignore` names is an input: a number, or, of those under
    `categorical`, a 0 or 1 for each text that a training row holds, as it is spelled. A text that none
    of them holds is refused, or with `unknown: zeros` of no category.

    `date` is one column, of ISO 8601 (2016-01-31, 2016-01-31 12:00, UTC unless it says otherwise), or
    three: year, month and day, which stay inputs while a single one is none. `date_cycles` adds the
    sine and cosine of how far the year, the week or the day has gone. `baselines` are columns that are
    guesses of the target, under names of one's own; they stay inputs unless ignored.

    A cell is missing where it is empty, NA, N/A, n/a, NaN, nan, NULL or null, and unreadable where it
    should hold a number or a date and does not. `missing: drop` leaves such rows out, fill takes the
    mean of the training rows or no category; without a target or a date a row is left out either way.

    With `standardise` numbers have mean 0 and deviation 1 over the training rows. With `scale_target`
    the loss sees the target so, while metrics stay in its unit. The split is chronological where there
    is a date: the last `test_fraction` of the rows is test, and of those before the last
    `valid_fraction` valid. Else both are drawn by `seed`, of each class alike.
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
    return table_data(partial(file_table, path, root), options, known)
