"""The interval of a series: seconds or calendar months, its gaps, and the dates that follow."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import torch

from dlrun.data.intervals import Interval


def seconds(*moments: datetime) -> torch.Tensor:
    return torch.tensor([int(moment.timestamp()) for moment in moments])


def every(step: timedelta, n: int) -> torch.Tensor:
    return seconds(*(datetime(2019, 12, 30, 6, tzinfo=UTC) + step * number for number in range(n)))


def month_ends(n: int, by: int = 1, day: int = 31) -> list[datetime]:
    """The last days of months from January 2019, or the days before them on `day`, by the calendar module."""
    found = []
    for number in range(0, n * by, by):
        year, month = 2019 + number // 12, number % 12 + 1
        found.append(datetime(year, month, min(day, calendar.monthrange(year, month)[1]), 9, tzinfo=UTC))
    return found


@pytest.mark.parametrize(
    ("dates", "said"),
    [
        (every(timedelta(hours=1), 50), "1 hour"),
        (every(timedelta(minutes=15), 50), "15 minutes"),
        (every(timedelta(days=1), 70), "1 day"),
        (every(timedelta(days=7), 50), "1 week"),
        (every(timedelta(seconds=90), 50), "90 seconds"),
        (seconds(*month_ends(20)), "1 month"),
        (seconds(*month_ends(20, day=30)), "1 month"),
        (seconds(*month_ends(20, by=3)), "3 months"),
        (seconds(*month_ends(9, by=12, day=5)), "12 months"),
    ],
)
def test_a_regular_series_has_an_interval_and_no_gap(dates: torch.Tensor, said: str) -> None:
    interval = Interval.of(dates)
    assert str(interval) == said
    assert interval.distances(dates).tolist() == [1] * (len(dates) - 1)
    assert [interval.after(int(dates[0]), step) for step in range(len(dates))] == dates.tolist()
    assert Interval.remembered(interval.known()) == interval


def test_a_gap_is_counted_in_intervals_and_what_does_not_fit_is_nan() -> None:
    days = every(timedelta(days=1), 40)
    kept = torch.cat([days[:5], days[8:20], days[20:21] + 3600, days[21:]])
    apart = Interval.of(kept).distances(kept)
    assert [place for place in range(len(apart)) if apart[place] != 1] == [4, 16, 17]
    assert apart[4] == 4 and apart[16:18].isnan().all()
    months = seconds(*month_ends(20))[[0, 1, 2, 5, 6, 7, 8]]
    assert Interval.of(months).distances(months).tolist() == [1, 1, 3, 1, 1, 1]
    assert Interval(1, 31).distances(days).isnan().all(), "days are not month ends"


def test_the_interval_of_several_series_is_that_within_them() -> None:
    days = every(timedelta(days=1), 2)
    dates = torch.cat([days + 3600 * 5 * number for number in range(20)])
    are_neighbours = torch.arange(len(dates) - 1) % 2 == 0
    for some in (dates[:-1], dates):
        assert str(Interval.of(some, are_neighbours[: len(some) - 1])) == "1 day"


@pytest.mark.parametrize("value", [7, [0, 0], [1, 32], [1.5, 0], [2**40, 0], ["1", 0], [1], [True, 0]])
def test_a_malformed_interval_is_not_taken_from_a_checkpoint(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        Interval.remembered(value)
