"""Your own time series, from a CSV file: its next values are predicted from a window of the last ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from dlrun.config.options import Count, Fraction
from dlrun.data.examples import Data
from dlrun.data.table_files.tables import Reading
from dlrun.data.tabular.encoding import TableOptions
from dlrun.data.tabular.series_windows import WindowOptions, windows_data
from dlrun.data.tabular.table import file_table

# The options that an earlier dlrun did not have mean what it did.
of_earlier_runs = {"read": "strict"}
# The options that have an effect on a trained model; its checkpoint has settled the others.
at_evaluation = ("path", "unit", "read", "date", "season", "gaps")


def windows(
    root: Path,
    known: Mapping[str, Any] | None = None,
    *,
    path: str,
    target: str,
    window: Count,
    horizon: Count = 1,
    read: Literal["guess", "strict"] = "guess",
    inputs: Sequence[str] = (),
    unit: str = "",
    date: Sequence[str] = (),
    date_cycles: Sequence[Literal["year", "week", "day"]] = (),
    season: Count | None = None,
    gaps: Literal["refuse", "split", "join"] = "refuse",
    stride: Count = 1,
    standardise: bool = True,
    scale_target: bool = True,
    test_fraction: Fraction = 0.2,
    valid_fraction: Fraction = 0.0,
) -> Data:
    """A time series in a CSV file: from `window` rows the `target` in the next `horizon` rows is predicted.

    `path` is looked for in the working directory, beside the config and in the data folder. A row is a step;
    the oldest is the first. `inputs` are the columns that the model sees, as they are at each row of a
    window: if none are named, all but those of the date, the target among them. All are numbers. `date` and
    `date_cycles` are as for csv, except that no column of the date becomes an input unless it is named.

    `read` is as for csv: separator, header, decimal mark and encoding are guessed and said, or with strict
    are those of RFC 4180.

    A gap is a row with a missing or unreadable cell (see csv), or between two dates another distance than
    the usual one, which is that of most rows: so many seconds, or calendar months. It is refused, or with
    `gaps: split` crossed by no window; with join the rows that there are count as steps, such as trading
    days. Rows out of order are refused always.

    The last `test_fraction` of the rows are to test on, the last `valid_fraction` of the rest to validate
    on: no target is in two splits, and those of test begin behind the last one of training. A window of
    test may look back across the border, at what was known by then, so that the targets of test do not
    depend on `window`. Training windows begin at every `stride`-th row, others at each. With `standardise`
    numbers have mean 0 and standard deviation 1 over the training rows; with `scale_target` the loss sees a
    target standardised in the same way, while metrics stay in its `unit`, as means over the horizon.

    The baselines are the last value of a window for all steps, and with `season`, a number of rows, the
    value of one season before, or as many as a step needs. `dlrun predict` forecasts from the last `window`
    rows of a file.
    """
    reading = Reading(is_strict=read == "strict")
    table = TableOptions(
        target=target,
        unit=unit,
        reading=reading,
        date=date,
        date_cycles=date_cycles,
        standardise=standardise,
        scale_target=scale_target,
        test_fraction=test_fraction,
        valid_fraction=valid_fraction,
    )
    options = WindowOptions(window, horizon, table, tuple(inputs), season, stride, gaps)
    return windows_data(partial(file_table, path, root, (), reading), options, known)
