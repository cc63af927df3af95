"""Interval: the distance between the rows of a series, in seconds or in calendar months."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

_DAY = 86_400  # seconds
_UNITS = (("week", 7 * _DAY), ("day", _DAY), ("hour", 3600), ("minute", 60), ("second", 1))

Moments = np.ndarray[Any, np.dtype[np.datetime64]]


@dataclass(frozen=True)
class Interval:
    """So many seconds; or with a `day`, so many months, on this day of each; dates are seconds since 1970.

    In a month that lacks the day, such as the 31st, its last day stands for it.
    """

    count: int
    day: int = 0

    @classmethod
    def of(cls, dates: Tensor, are_neighbours: Tensor | None = None) -> Interval:
        """The interval between most neighbours of ascending dates (n,), n > 1.

        Of several series, one behind the other, `are_neighbours` (n - 1,) is True within one.
        """
        moments = _moments(dates)
        day = int(_days(moments).max()) + 1
        monthly = cls(1, day)
        is_monthly = not bool(((dates - dates[0]) % _DAY).any()) and bool(monthly._fits(moments).all())
        apart = (_months(dates) if is_monthly else dates).diff()
        apart = apart if are_neighbours is None else apart[are_neighbours]
        found, counts = apart.unique(return_counts=True)
        return cls(int(found[counts.argmax()]), day if is_monthly else 0)

    @classmethod
    def remembered(cls, value: Any) -> Interval | None:
        """The interval in a checkpoint. Raises ValueError or TypeError if it is malformed."""
        if value is None:
            return None
        count, day = value
        if not (type(count) is type(day) is int and 0 < count < 2**32 and 0 <= day <= 31):
            raise ValueError("the stored interval is invalid")
        return cls(count, day)

    def known(self) -> list[int]:
        """The interval as plain values, for a checkpoint."""
        return [self.count, self.day]

    def distances(self, dates: Tensor) -> Tensor:
        """The number of intervals between neighbours of dates (n,), (n - 1,); nan if they are no multiple."""
        apart = (_months(dates) if self.day else dates).diff()
        are_whole = apart % self.count == 0
        if self.day:
            fits = torch.from_numpy(self._fits(_moments(dates)))
            are_whole &= fits[1:] & fits[:-1]
        return torch.where(are_whole, (apart // self.count).double(), torch.nan)

    def after(self, date: int, steps: int) -> int:
        """The date `steps` intervals later."""
        if not self.day:
            return date + steps * self.count
        month = np.datetime64(date, "s").astype("datetime64[M]") + steps * self.count
        later = month.astype("datetime64[D]") + min(self.day - 1, int(_last_days(month)))
        return int(later.astype("datetime64[s]").astype(np.int64)) + date % _DAY

    def __str__(self) -> str:
        """The interval in words, such as `1 hour` or `3 months`."""
        size, called = self.count, "month"
        if not self.day:
            called, seconds = next(unit for unit in _UNITS if self.count % unit[1] == 0)
            size = self.count // seconds
        return f"{size:,} {called}{'s' * (size > 1)}"

    def _fits(self, moments: Moments) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """True for each moment that is on the day of the month."""
        fits: np.ndarray[Any, np.dtype[np.bool_]] = _days(moments) == np.minimum(
            self.day - 1, _last_days(moments)
        )
        return fits


def _moments(dates: Tensor) -> Moments:
    return dates.numpy().astype("datetime64[s]")


def _months(dates: Tensor) -> Tensor:
    """The months since 1970 of dates (n,)."""
    return torch.from_numpy(_moments(dates).astype("datetime64[M]").astype(np.int64))


def _days(moments: Moments) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The day of the month of each moment, from 0."""
    months = moments.astype("datetime64[M]").astype("datetime64[D]")
    days: np.ndarray[Any, np.dtype[np.int64]] = (moments.astype("datetime64[D]") - months).astype(np.int64)
    return days


def _last_days(moments: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The last day of the month of each moment, from 0."""
    return _days((moments.astype("datetime64[M]") + 1).astype("datetime64[D]") - 1)
