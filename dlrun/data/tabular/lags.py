"""Lags: earlier values of the targets, looked up by their time, as further inputs of each row of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from dlrun.data.intervals import Interval
from dlrun.data.placement import SPLITS, Rows
from dlrun.data.table_files.columns import Column
from dlrun.data.table_files.tables import Table
from dlrun.data.tabular.cells import Cells, NumbersOf
from dlrun.data.tabular.dates import said_dates
from dlrun.data.tabular.encoding import LAST, SEASON, TableOptions, lag_name
from dlrun.data.tabular.parsing import refuse_numbers
from dlrun.errors import UserError

_MOST_SEASONS = 8  # that are looked back for a value
_MOST_LACKING = 0.1  # of the rows may lack a lag without a word


def add_lags(cells: Cells, table: Table, options: TableOptions) -> TableOptions:
    """Add the targets some steps before each row as columns, and give the options with the step.

    Rows that nothing is known before are noted in `cells.without_past`; another row that finds no value has
    a missing cell. Raises UserError for two rows of one time, for times that no step fits, and for a column
    of the name of a lag.
    """
    if taken := [name for name in options.lagged if name in table.columns]:
        what = f"{taken[0]} is a column of the table, and by lags an input of that name"
        raise UserError(what, where=table.source, fix="rename the column")
    past = _Past.of(cells, options)
    without = past.rows_without()
    if 0 < len(past.rows) == len(without):  # without a readable time in any row, that is said instead
        shortest = min(options.lags)
        steps = f"{shortest:,} step{'s' * (shortest > 1)}"
        what = f"no row has a value of {' or '.join(options.targets)} {steps} before it"
        fix = "add the earlier rows, or take shorter lags"
        raise UserError(f"{what}; a step is {past.options.step}", where=cells.source, fix=fix)
    cells.without_past = dict.fromkeys(without.tolist(), _none_before(options))
    _add_columns(cells, past)
    for name in baselines_of(options)[len(options.baselines) :]:
        each = [
            past.last_known(target) if name == LAST else past.season(target) for target in options.targets
        ]
        cells.guesses[name] = torch.from_numpy(np.stack(each, 1))
    return past.options


def add_lags_of_new(cells: Cells, table: Table, options: TableOptions) -> None:
    """The same for a file of new rows, whose targets are known of the earlier ones.

    A row is noted as without a past too if a lag reaches to a time of which the target is not known yet.
    Raises UserError if the file has no target.
    """
    for column in options.targets:
        if column not in table.columns:
            what = f"there is no column {column}, whose earlier values the model needs"
            fix = f"put the rows before those to be predicted into the file, with their {column}"
            raise UserError(what, where=table.source, fix=fix)
    own = replace(cells, numbers=NumbersOf(), trouble=cells.trouble.of((*options.date, *options.series)))
    for column in options.targets:
        own.read_numbers(table, column, options.numbers)
    refuse_numbers(own, options)
    past = _Past.of(own, options)
    cells.without_past = dict.fromkeys(past.rows_without().tolist(), _none_before(options))
    cells.without_past |= past.not_known_yet()
    _add_columns(cells, past)


def said_lags(options: TableOptions) -> str:
    """A note of what the lags are, and of what is predicted from them."""
    apart = f"each row is predicted one step ({options.step}) ahead, from true earlier values"
    each = f" of each {' and '.join(options.series)}" if options.series else ""
    return f"{apart}{each}: {', '.join(options.lagged)}"


def gaps_of_lags(cells: Cells, options: TableOptions) -> list[str]:
    """A note for each lag that finds no value in many of the rows that have a past."""
    rows = len(cells) - len(cells.without_past)
    found = []
    for name in options.lagged:
        lacking = len(cells.trouble.missing.get(name, ()))
        if lacking > _MOST_LACKING * rows:
            what = f"{name} finds no value in {lacking:,} of {rows:,} rows"
            found.append(f"{what}: a step is {options.step}, and times without a row count too")
    return found


def baselines_of(options: TableOptions) -> tuple[str, ...]:
    """The names of the baselines: the stated ones, and those of lags."""
    return (*options.baselines, *[LAST] * bool(options.lags), *[SEASON] * (len(options.lags) > 1))


def refuse_later_training(cells: Cells, rows: Rows, options: TableOptions) -> None:
    """Raise UserError if a row of a split that a column or a file states is earlier than one of train.

    Its target would be an input in training.
    """
    if not options.lags:
        return
    assert cells.date is not None, "lags are refused without dates"
    dates, series = cells.date.numpy(), series_of(cells, options)
    last = np.full(series.max() + 1, np.iinfo(np.int64).min)
    np.maximum.at(last, series[rows["train"]], dates[rows["train"]])
    for name in SPLITS[1:]:
        own = rows.get(name, np.empty(0, np.int64))
        if len(early := own[dates[own] <= last[series[own]]]):
            row = early[0]
            first, end = said_dates(torch.from_numpy(np.array([dates[row], last[series[row]]])))
            what = f"row {cells.lines[row]} of {first} is a {name} row, and train goes on to {end}"
            fix = "put the last rows of each series into test and valid, or set lags: []"
            raise UserError(f"{what}: lags would show its target in training", where=cells.source, fix=fix)


@dataclass(frozen=True)
class _Past:
    """The rows of a table that have a time, by series and in the order of time.

    `rows` (m,) are their numbers in the table, `place` (m,) counts the steps from the first one on. A series
    begins so far behind the end of the one before that no lag reaches across; `series` (m,) numbers them.
    """

    cells: Cells
    options: TableOptions
    rows: np.ndarray
    series: np.ndarray
    place: np.ndarray
    reach: int  # steps: a longer lag finds nothing

    @classmethod
    def of(cls, cells: Cells, options: TableOptions) -> _Past:
        """The past by the step of the options, or by that of most neighbours."""
        assert cells.date is not None, "lags are refused without dates"
        no_time = cells.trouble.of((*options.date, *options.series)).rows()
        kept = np.setdiff1d(np.arange(len(cells)), no_time)
        dates, series = cells.date.numpy()[kept], series_of(cells, options)[kept]
        order = np.lexsort((dates, series))
        rows, dates, series = kept[order], torch.from_numpy(dates[order]), series[order]
        together = series[1:] == series[:-1]
        _refuse_same_times(cells, options, rows, dates, together)
        step = options.step or _step_of(cells, options, dates, together)
        apart = step.distances(dates).numpy()
        with np.errstate(invalid="ignore"):
            odd = np.flatnonzero(together & ~(apart >= 1))
        if len(odd):
            raise _irregular(cells, step, rows[odd[0] : odd[0] + 2], len(odd))
        ahead = np.where(together, apart, 0).astype(np.int64)
        reach = min(max(options.lags), int(ahead.sum()) + 1)
        ahead = np.where(together, ahead, reach + 1)
        place = np.concatenate([np.zeros(min(1, len(rows)), np.int64), ahead.cumsum()])
        number = np.concatenate([np.zeros(min(1, len(rows)), np.int64), (~together).cumsum()])
        return cls(cells, replace(options, step=step), rows, number, place, reach)

    def rows_before(self, lag: int) -> np.ndarray:
        """The row (m,) that many steps before each, -1 if there is none."""
        wanted = self.place - min(lag, self.reach)
        found = np.searchsorted(self.place, wanted)
        return np.where(self.place[found] == wanted, self.rows[found], -1)

    def values(self, target: str, lag: int) -> np.ndarray:
        """The target (n,) that many steps before each row of the table, nan where there is none."""
        before, found = self.rows_before(lag), np.full(len(self.cells), np.nan)
        values = self.cells.numbers[target].numpy()
        found[self.rows] = np.where(before < 0, np.nan, values[before])
        return found

    def last_known(self, target: str) -> np.ndarray:
        """The last target (n,) that is known the shortest lag before each row, or earlier; nan if none is."""
        known, found = np.flatnonzero(self.known[target]), np.full(len(self.cells), np.nan)
        behind = np.searchsorted(self.place[known], self.place - min(self.options.lags), side="right")
        last = known[np.maximum(behind - 1, 0)] if len(known) else np.zeros(len(self.rows), np.int64)
        is_own = (behind > 0) & (self.series[last] == self.series)
        values = self.cells.numbers[target].numpy()
        found[self.rows] = np.where(is_own, values[self.rows[last]], np.nan)
        return found

    def season(self, target: str) -> np.ndarray:
        """The target (n,) the longest lag before each row, or where that is missing a multiple of it."""
        found, values = np.full(len(self.cells), np.nan), self.cells.numbers[target].numpy()
        own = found[self.rows]
        for seasons in range(1, _MOST_SEASONS + 1):
            wanted = self.place - seasons * max(self.options.lags)
            at = np.searchsorted(self.place, wanted)
            is_own = (self.place[at] == wanted) & (self.series[at] == self.series)
            own = np.where(np.isnan(own) & is_own, values[self.rows[at]], own)
        found[self.rows] = np.where(np.isnan(own), self.last_known(target)[self.rows], own)
        return found

    @cached_property
    def known(self) -> dict[str, np.ndarray]:
        """True (m,) for each row whose target is known, of each target."""
        return {
            target: ~np.isnan(self.cells.numbers[target].numpy()[self.rows])
            for target in self.options.targets
        }

    def rows_without(self) -> np.ndarray:
        """The rows (k,) whose every lag lies before the first value of their series."""
        some = np.any([*self.known.values()], axis=0)
        first = np.full(self.series.max(initial=-1) + 1, np.iinfo(np.int64).max)
        np.minimum.at(first, self.series[some], self.place[some])
        none: np.ndarray = self.rows[self.place - min(self.options.lags) < first[self.series]]
        return np.sort(none)

    def not_known_yet(self) -> Mapping[int, str]:
        """The rows of which a lag is later than the last value of their series, with the reason."""
        found: dict[int, str] = {}
        step, date = self.options.step, self.cells.date
        assert step is not None and date is not None, "the step was found among dates"
        for target, known in self.known.items():
            last = np.full(self.series.max(initial=-1) + 1, np.iinfo(np.int64).max)
            ends, numbers = self.place[known], self.series[known]
            last[numbers] = ends  # they ascend, and the last one stays
            for lag in self.options.lags:
                for row in self.rows[self.place - lag > last[self.series]].tolist():
                    when = said_dates(torch.tensor([step.after(int(date[row]), -lag)]))[0]
                    why = f"{lag_name(target, lag)}: {target} of {when} is not known yet"
                    found.setdefault(row, why)
        return found


def _add_columns(cells: Cells, past: _Past) -> None:
    """Add the lags to cells, and note their missing values in rows that have a time and a past."""
    counts = np.zeros(len(cells), bool)
    counts[past.rows] = True
    counts[list(cells.without_past)] = False
    for lag in past.options.lags:
        for target in past.options.targets:
            name, values = lag_name(target, lag), past.values(target, lag)
            cells.add_numbers(name, values, np.isnan(values) & counts)


def series_of(cells: Cells, options: TableOptions) -> np.ndarray:
    """The number of the series (n,) of each row; rows without one have any."""
    found = np.zeros(len(cells), np.int64)
    for name in options.series:
        column: Column = cells.texts[name]
        assert column.codes is not None, "it was read as texts"
        _, found = np.unique(found * (len(column.texts) + 1) + column.codes + 1, return_inverse=True)
    return found


def names_of_series(cells: Cells, options: TableOptions, numbers: np.ndarray) -> list[str]:
    """The name of each series, such as `Bonn` or `Bonn, bread`, by its number in `numbers` (n,)."""
    _, rows = np.unique(numbers, return_index=True)
    each = [_texts_in(cells.texts[name], rows) for name in options.series]
    return [", ".join(texts) for texts in zip(*each, strict=True)]


def _texts_in(column: Column, rows: np.ndarray) -> list[str]:
    assert column.codes is not None, "it was read as texts"
    return [column.texts[code] if code >= 0 else "missing" for code in column.codes[rows].tolist()]


def _step_of(cells: Cells, options: TableOptions, dates: torch.Tensor, together: np.ndarray) -> Interval:
    if not together.any():
        those = f"no {' and '.join(options.series)} has two rows" if options.series else "there is one row"
        what = f"lags look up values some steps before, but {those}"
        raise UserError(what, where=cells.source, fix="add rows, or set lags: []")
    return Interval.of(dates, torch.from_numpy(together))


def _refuse_same_times(
    cells: Cells, options: TableOptions, rows: np.ndarray, dates: torch.Tensor, together: np.ndarray
) -> None:
    same = np.flatnonzero(together & (dates.diff() == 0).numpy())
    if not len(same):
        return
    first, second = sorted(cells.lines[rows[same[0] : same[0] + 2]].tolist())
    what = f"rows {first} and {second} are both of {said_dates(dates[same[:1]])[0]}"
    more = f", and {len(same) - 1:,} more such pairs" if len(same) > 1 else ""
    of_one = f", of one {' and '.join(options.series)}" if options.series else ""
    column = "a further column" if options.series else "the column"
    fix = f"name {column} that tells series apart under series, or keep one row for each time"
    raise UserError(f"{what}{of_one}{more}: lags need one value for each time", where=cells.source, fix=fix)


def _irregular(cells: Cells, step: Interval, rows: np.ndarray, n: int) -> UserError:
    assert cells.date is not None, "lags are refused without dates"
    first, behind = said_dates(cells.date[torch.from_numpy(rows)])
    lines = cells.lines[rows]
    more = f", and {n - 1:,} more such pairs" if n > 1 else ""
    what = f"most rows are {step} apart, but row {lines[1]} is of {behind}, and row {lines[0]} before it of"
    fix = "make times regular, where whole steps may be left out, or set lags: []"
    return UserError(f"{what} {first}{more}: lags need whole steps", where=cells.source, fix=fix)


def _none_before(options: TableOptions) -> str:
    return f"there is no earlier value of {' or '.join(options.targets)}"
