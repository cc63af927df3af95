"""Two years of hourly demand for electricity, from which the next day is predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from math import pi
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dlrun.config.options import Count, Fraction, Seed
from dlrun.data.examples import Data
from dlrun.data.folds import Fold
from dlrun.data.table_files.tables import Table
from dlrun.data.tabular.encoding import TableOptions
from dlrun.data.tabular.series_windows import WindowOptions, windows_data
from dlrun.system.randomness import generator

# The options that have an effect on a trained model; its checkpoint has settled the others.
at_evaluation = ("season",)

FIRST = datetime(2022, 1, 1)  # a Saturday


def hourly_demand(
    root: Path,
    known: Mapping[str, Any] | None = None,
    fold: Fold | None = None,
    *,
    days: Count = 730,
    window: Count = 168,
    horizon: Count = 24,
    date_cycles: Sequence[Literal["year", "week", "day"]] = (),
    season: Count | None = 168,
    stride: Count = 1,
    standardise: bool = True,
    scale_target: bool = True,
    test_fraction: Fraction = 0.2,
    valid_fraction: Fraction = 0.0,
    seed: Seed = 0,
) -> Data:
    """The demand of a region in MW, generated hour by hour: the next day is predicted.

    It has a daily, a weekly and a yearly season, a trend, and weather that changes within days. It is read as
    windows are.

    Args:
        days: Length of the series in days.
        window: Hours that the model sees.
        horizon: Hours ahead that it predicts.
        date_cycles: Further inputs, the sine and cosine of the time within the year, the week or the day.
        season: Hours between a step and the one that a baseline repeats; null: without that baseline.
        stride: Hours between the starts of two training windows.
        standardise: Scale inputs to mean 0 and standard deviation 1 over the training hours.
        scale_target: Let the loss see a target with mean 0 and standard deviation 1, while metrics stay in
            MW.
        test_fraction: Share of the hours, the last ones, that becomes the test split.
        valid_fraction: Share of the rest, its last hours, that becomes the validation split.
        seed: Random weather and noise of the series.
    """
    table = TableOptions(
        target="demand",
        unit="MW",
        date=["time"],
        date_cycles=date_cycles,
        standardise=standardise,
        scale_target=scale_target,
        test_fraction=test_fraction,
        valid_fraction=valid_fraction,
        fold=fold,
    )
    options = WindowOptions(window, horizon, table, season=season, stride=stride)
    return replace(windows_data(partial(made, days, seed), options, known), synthetic=True)


def made(days: int, seed: int) -> Table:
    """Generate `days` days from 1 January 2022, a row for each hour, rounded to 0.1 MW.

    Around 1,000 MW, rising by 3 % a year: a morning and an evening peak, about 13 % less at weekends, in
    January 8 % above the mean of a year and in July 8 % below it; AR(1) weather with coefficient 0.97 and
    standard deviation 40 MW, and noise of 8.
    """
    hours = torch.arange(24 * days, dtype=torch.float64)
    normal = torch.randn(2, len(hours), generator=generator("demand", seed, 0), dtype=torch.float64)
    year, hour = hours / (24 * 365.25), hours % 24
    level = 1000 * (1 + 0.03 * year) * (1 + 0.08 * (2 * pi * (year - 15 / 365.25)).cos())
    daily = 1 + 0.16 * _peak(hour, 8, 2.2) + 0.24 * _peak(hour, 18.5, 3) - 0.18 * _peak(hour, 3.5, 3.5)
    free = ((hours // 24) % 7 < 2).double()  # the first two days are a Saturday and a Sunday
    demand = level * daily * (1 - 0.12 * free * (1 + 0.4 * _peak(hour, 8, 2.5)))
    demand += _autoregressive(40 * normal[0], 0.97) + 8 * normal[1]
    times = [str(FIRST + timedelta(hours=int(number))) for number in range(len(hours))]
    rows = [[time, f"{value:.1f}"] for time, value in zip(times, demand.tolist(), strict=True)]
    return Table.of_rows("hourly_demand", ("time", "demand"), rows)


def _peak(hour: Tensor, at: float, width: float) -> Tensor:
    """A bell over the hour of the day, 1 at its peak."""
    away = (hour - at + 12) % 24 - 12
    return (-(away**2) / (2 * width**2)).exp()


def _autoregressive(noise: Tensor, coefficient: float) -> Tensor:
    """AR(1) with the standard deviation of the noise (n,)."""
    value, fresh, values = 0.0, (1 - coefficient**2) ** 0.5, []
    for step in noise.tolist():
        value = coefficient * value + fresh * step
        values.append(value)
    return torch.tensor(values, dtype=noise.dtype)
