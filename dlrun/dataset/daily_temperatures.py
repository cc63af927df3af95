"""A year of daily temperatures, from which the next day's is predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from math import cos, pi
from pathlib import Path
from typing import Any, Literal

import torch

from dlrun.config.options import Fraction, Seed
from dlrun.data.examples import Data
from dlrun.data.folds import Fold
from dlrun.data.table_files.tables import Table
from dlrun.data.tabular.encoding import TableOptions
from dlrun.data.tabular.table import file_table, table_data

# The options that have an effect on a trained model; its checkpoint has settled the others.
at_evaluation = ("path", "missing=drop", "missing=refuse")

of_earlier_runs = {"source": "generated"}
FILE = "temps.csv"
COLUMNS = ("year", "month", "day", "week", "temp_2", "temp_1", "average", "actual", "friend")
WEEK = ("Mon", "Tues", "Wed", "Thurs", "Fri", "Sat", "Sun")
YEAR = 2016
_DAYS = 366
_MISSING = 18  # days without a row


def daily_temperatures(
    root: Path,
    known: Mapping[str, Any] | None = None,
    fold: Fold | None = None,
    *,
    path: str | None = None,
    source: Literal["auto", "generated"] = "auto",
    ignore: Sequence[str] = (),
    date_cycles: Sequence[Literal["year", "week", "day"]] = (),
    missing: Literal["refuse", "drop", "fill"] = "refuse",
    standardise: bool = True,
    scale_target: bool = False,
    split: Literal["chronological", "random"] = "chronological",
    test_fraction: Fraction = 0.2,
    valid_fraction: Fraction = 0.0,
    seed: Seed = 0,
) -> Data:
    """A year of daily temperatures in °F: `actual` is predicted from the days before and a friend's guess.

    The columns: the date in three, the weekday, the temperatures of the last two days, the average of that
    date over the years, the target, the guess.

    Args:
        path: CSV file with the same columns; null: what `source` says.
        source: The year without a path; auto: that of temps.csv in the data folder if it is there, or else
            one that is generated.
        ignore: Columns that the model does not see, where * stands for any letters.
        date_cycles: Further inputs, the sine and cosine of the date within the year, the week or the day.
        missing: Treatment of missing cells: refuse the file, drop such rows, or fill them with the mean.
        standardise: Scale numbers to mean 0 and standard deviation 1 over the training rows.
        scale_target: Let the loss see a target with mean 0 and standard deviation 1, while metrics stay in
            °F.
        split: Test days: the last ones, or a random choice.
        test_fraction: Share of the days that becomes the test split.
        valid_fraction: Share of the rest that becomes the validation split.
        seed: Random year that is generated, and random choice of a split.
    """
    options = TableOptions(
        target="actual",
        unit="°F",
        categorical=["week"],
        date=["year", "month", "day"],
        date_cycles=date_cycles,
        ignore=ignore,
        baselines={"yesterday": "temp_1", "average": "average", "friend": "friend"},
        missing=missing,
        standardise=standardise,
        scale_target=scale_target,
        split=split,
        test_fraction=test_fraction,
        valid_fraction=valid_fraction,
        seed=seed,
        fold=fold,
    )
    if path is not None:
        return table_data(partial(file_table, path, root), options, known)
    file = root / FILE
    is_there = source == "auto" and known is None and file.is_file()
    read = partial(file_table, str(file), root) if is_there else lambda *_: made(seed)
    data = table_data(read, options, known)
    if is_there:
        data.findings.append(f"the year is that of {file}; source: generated makes one up")
    settled = {"path": str(file.absolute())} if is_there else {"source": "generated"}
    return replace(data, guessed={**data.guessed, **settled}, synthetic=not is_there)


def made(seed: int) -> Table:
    """Generate the year of a temperate city by the sea in whole °F, with _MISSING days left out.

    The average of a date follows a cosine from 45 in January to 77 in July. The year is 2.5 warmer than
    that, plus an AR(1) process with coefficient 0.7 and standard deviation 6. The friend's guess differs
    from the average by up to 20.
    """
    stream = torch.Generator().manual_seed(seed)
    noise = torch.randn(_DAYS + 2, generator=stream).tolist()
    guesses = torch.randint(-20, 21, (_DAYS,), generator=stream).tolist()
    left_out = set(torch.randperm(_DAYS, generator=stream)[:_MISSING].tolist())
    temperatures, weather = [], 6 * noise[0]
    for index, step in enumerate(noise, -2):  # from two days before the year
        weather = 0.7 * weather + 6 * (1 - 0.7**2) ** 0.5 * step
        temperatures.append(round(average(index) + 2.5 + weather))
    rows = []
    for index in sorted(set(range(_DAYS)) - left_out):
        day = date(YEAR, 1, 1) + timedelta(days=index)
        before_last, last, actual = temperatures[index : index + 3]
        usual = round(average(index), 1)
        figures = (before_last, last, usual, actual, round(usual + guesses[index]))
        rows.append([*map(str, (day.year, day.month, day.day)), WEEK[day.weekday()], *map(str, figures)])
    return Table.of_rows("daily_temperatures", COLUMNS, rows)


def average(day: int) -> float:
    """The average temperature in °F of a day of the year, counted from 0; it peaks at the end of July."""
    return 61 + 16 * cos(2 * pi * (day - 208) / 365.25)
