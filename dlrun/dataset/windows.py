"""Your own time series, from a CSV file: its next values are predicted from a window of the last ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from dlrun.config.options import Count, Fraction
from dlrun.data.examples import Data
from dlrun.data.folds import Fold
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
    fold: Fold | None = None,
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
    """A time series in a CSV file: from a window of rows the `target` in the next rows is predicted.

    A row is a step; the oldest is the first, and rows out of order are refused. All inputs are numbers. A gap
    is a row with a missing or unreadable cell (see csv), or between two dates another distance than the usual
    one, which is that of most rows: so many seconds, or calendar months.

    No target is in two splits, and those of test begin behind the last one of training. A window of test may
    look back across the border, at what was known by then, so that the targets of test do not depend on
    `window`. Metrics are means over the horizon. The baselines are the last value of a window for all steps,
    and with `season` the value of one season before. `dlrun predict` forecasts from the last rows of a file.

    Args:
        path: File to read, looked for in the working directory, beside the config and in the data folder.
        target: Column to predict.
        window: Rows that the model sees, the last ones.
        horizon: Rows ahead that it predicts.
        read: Guesses at separator, header, decimal mark and encoding, which are said (guess), or none
            (strict: those of RFC 4180).
        inputs: Columns that the model sees at each row of a window; none named: all but those of the date,
            the target among them.
        unit: Unit of the target, for figures and pictures.
        date: Column of the date, or three of year, month and day, as for csv; they are inputs only if
            `inputs` names them.
        date_cycles: Further inputs, the sine and cosine of the time within the year, the week or the day.
        season: Rows between a step and the one that a baseline repeats, or as many seasons as a step needs;
            null: without that baseline.
        gaps: Treatment of a gap: refuse the file, split the series there so that no window crosses it, or
            join the rows as if they were steps, such as trading days.
        stride: Rows between the starts of two training windows; in the other splits a window begins at each
            row.
        standardise: Scale numbers to mean 0 and standard deviation 1 over the training rows.
        scale_target: Let the loss see a target with mean 0 and standard deviation 1, while metrics stay in
            its unit.
        test_fraction: Share of the rows, the last ones, that becomes the test split.
        valid_fraction: Share of the rest, its last rows, that becomes the validation split.

    Example:
        dataset: {name: windows, path: load.csv, target: load, date: [time], window: 168, horizon: 24}
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
        fold=fold,
    )
    options = WindowOptions(window, horizon, table, tuple(inputs), season, stride, gaps)
    return windows_data(partial(file_table, path, root, (), reading), options, known)
