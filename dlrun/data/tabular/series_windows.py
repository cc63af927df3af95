"""A time series as a dataset: windows of its rows, and for each the values of the target that follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dlrun.data.devices import memory_of, overlaps
from dlrun.data.examples import Data, Examples, steps_ahead
from dlrun.data.hold_out import consecutive
from dlrun.data.intervals import Interval
from dlrun.data.preprocessing import Preprocessing
from dlrun.data.table_files.csv_files import read_table
from dlrun.data.table_files.tables import Table
from dlrun.data.tabular.cells import Cells
from dlrun.data.tabular.column_figures import Figures
from dlrun.data.tabular.dates import said_dates
from dlrun.data.tabular.encoding import LAST, SEASON, Encoding, TableOptions
from dlrun.data.tabular.inputs import constant_columns, inputs_of, refuse_too_many, scaling_of, standardising
from dlrun.data.tabular.parsing import parsed
from dlrun.data.tabular.refusals import (
    other_targets,
    refuse_constant_target,
    refuse_contradictions,
    refuse_missing_columns,
    refuse_text,
)
from dlrun.data.trees import single
from dlrun.errors import UserError, listed

_MOST_COPIED = 2**29  # numbers in windows that cannot be a view of the rows: 4 GiB
_ONLY_NUMBERS = "a series is of numbers: list the columns that hold them under inputs"


@dataclass(frozen=True)
class WindowOptions:
    """The options of a series in windows (documented in `dlrun.dataset.windows.windows`)."""

    window: int
    horizon: int
    table: TableOptions  # those of the target, of the date and of the splits
    inputs: tuple[str, ...] = ()
    season: int | None = None
    stride: int = 1
    gaps: Literal["refuse", "split", "join"] = "refuse"

    @property
    def needed(self) -> int:
        """The rows of a window and the horizon behind it."""
        return self.window + self.horizon


@dataclass(frozen=True)
class _Series:
    """The rows of a series, oldest first, and the interval of their dates, if they have one.

    `steps` (n,) numbers the rows; behind a gap that no window may cross a number is left out.
    """

    cells: Cells
    steps: Tensor
    interval: Interval | None

    def __len__(self) -> int:
        return len(self.steps)

    def take(self, part: slice) -> _Series:
        rows = range(len(self))[part]
        return _Series(self.cells.take(rows), self.steps[part], self.interval)


def windows_data(read: Callable[[], Table], options: WindowOptions, known: Mapping[str, Any] | None) -> Data:
    """A series as a dataset. Without `known` it is read at once, for the inputs depend on its columns.

    Raises UserError for options that contradict each other, the table or the model; ValueError, TypeError or
    KeyError for a malformed `known`.
    """
    _refuse_contradictions(options)
    table, notes, findings = options.table, list[str](), list[str]()
    splits: dict[str, Examples] | None = None
    if known is None:
        file = read()
        findings += file.notes
        encoding, interval, splits = _learn(file, options, notes)
    else:
        encoding, interval = Encoding.remembered(known), Interval.remembered(known["interval"])
        _refuse_another_encoding(encoding, options)
    features = encoding.features(table)
    return Data(
        task="regression",
        input_shape=(options.window, len(features)),
        read=partial(_splits, read, options, encoding, notes) if splits is None else partial(dict, splits),
        features=features,
        target=table.target,
        unit=table.unit,
        targets=options.horizon,
        scaling=encoding.scaling if table.scale_target else None,
        baselines=(LAST, SEASON) if options.season else (LAST,),
        forecasts=True,
        splits=table.splits,
        fit=partial(_fit, table, encoding),
        read_new=partial(_read_new, options, encoding, interval),
        read_labelled=partial(_read_labelled, options, encoding, notes),
        known=encoding.known() | {"interval": interval and interval.known()},
        notes=notes,
        findings=findings,
    )


def _refuse_contradictions(options: WindowOptions) -> None:
    refuse_contradictions(options.table)
    if len(set(options.inputs)) < len(options.inputs):
        raise UserError("inputs names a column twice")
    if options.season and options.season > options.window:
        what = f"season: {options.season} is longer than window: {options.window}, which then lacks the"
        raise UserError(f"{what} season before", fix="set a longer window, or season: null")


def _refuse_another_encoding(encoding: Encoding, options: WindowOptions) -> None:
    """Raise UserError for options that would change the encoding of a trained model."""
    mistakes = other_targets(options.table, (), encoding.scaling)
    if options.inputs and options.inputs != encoding.columns:
        mistakes.append(f"the model has its own inputs {listed(encoding.columns)}")
    if mistakes:
        raise UserError("; ".join(mistakes))


def _learn(
    table: Table, options: WindowOptions, notes: list[str]
) -> tuple[Encoding, Interval | None, dict[str, Examples]]:
    """Fit the encoding on the training rows, and cut all splits of the series into windows."""
    columns = options.inputs or tuple(name for name in table.columns if name not in options.table.date)
    series = _series(table, columns, options, notes)
    training = series.take(_parts(len(series), options)["train"]).cells
    scaling = scaling_of(training.numbers[options.table.target])
    refuse_constant_target(scaling, options.table, table.source)
    notes += constant_columns(_figures_of(training, columns), options.table)
    encoding = Encoding(columns=columns, categories={}, classes=(), scaling=scaling, fills=False)
    return encoding, series.interval, _examples(series, options, encoding, notes)


def _figures_of(cells: Cells, columns: Sequence[str]) -> dict[str, Figures]:
    figures = cells.figures()
    return {name: figures[name] for name in columns}


def _splits(
    read: Callable[[], Table], options: WindowOptions, encoding: Encoding, notes: list[str]
) -> dict[str, Examples]:
    """All splits of a series, with an encoding from a checkpoint."""
    series = _series(read(), encoding.columns, options, notes)
    return _examples(series, options, encoding, notes)


def _series(table: Table, columns: tuple[str, ...], options: WindowOptions, notes: list[str]) -> _Series:
    """The rows of a table as a series. Raises UserError for rows out of order, and for gaps by the option."""
    refuse_missing_columns(table, [options.table.target, *options.table.date, *columns])
    cells = parsed(table, options.table, columns, [])
    refuse_text(cells, table, options.table, [*columns, options.table.target], _ONLY_NUMBERS)
    cells, steps = _complete(cells, options, notes)
    if cells.date is None or len(cells) < 2:
        return _Series(cells, steps, None)
    _refuse_disorder(cells)
    if options.gaps == "join":
        return _Series(cells, steps, None)
    interval = Interval.of(cells.date)
    apart = interval.distances(cells.date)
    gaps = (apart != 1).nonzero().squeeze(1).tolist()  # nan is a gap too
    if not gaps:
        return _Series(cells, torch.arange(len(cells)), interval)
    first, behind = said_dates(cells.date[gaps[0] : gaps[0] + 2])
    more = f", and {len(gaps) - 1:,} more such gaps" if len(gaps) > 1 else ""
    said = f"row {cells.lines[gaps[0] + 1]} is of {behind}, the one before of {first}{more}"
    if options.gaps == "refuse":
        what = f"rows are {interval} apart, but {said}"
        fix = "add the rows, or set gaps: split (no window goes across one) or join (each row is one step)"
        raise UserError(what, where=cells.source, fix=fix)
    notes.append(f"no window goes across a gap: rows are {interval} apart, but {said}")
    # A number is left out too if a distance is no whole number of intervals.
    ahead = torch.where(apart.isnan(), 2.0, apart).long()
    return _Series(cells, torch.cat([torch.zeros(1, dtype=torch.long), ahead.cumsum(0)]), interval)


def _complete(cells: Cells, options: WindowOptions, notes: list[str]) -> tuple[Cells, Tensor]:
    """The rows without a missing or unreadable cell, and the number of each (see `_Series.steps`)."""
    if not cells.trouble:
        return cells, torch.arange(len(cells))
    said = cells.said(cells.trouble)
    if options.gaps == "refuse":
        fix = "correct them, or leave such rows out by gaps: split (no window goes across one) or join"
        raise UserError(said, where=cells.source, fix=fix)
    bad = cells.trouble.rows()
    kept = np.setdiff1d(np.arange(len(cells)), bad)
    if not len(kept):
        raise UserError(f"no row is left: {said}", where=cells.source)
    are = "is" if len(bad) == 1 else "are"
    notes.append(f"{len(bad):,} of {len(cells):,} rows {are} left out: {said}")
    steps = torch.arange(len(kept)) if options.gaps == "join" else torch.from_numpy(kept)
    return cells.take(kept), steps


def _refuse_disorder(cells: Cells) -> None:
    """Raise UserError if a date is not later than the one before it."""
    assert cells.date is not None, "only called with dates"
    for place in (cells.date.diff() <= 0).nonzero().squeeze(1).tolist():
        before, own = said_dates(cells.date[place : place + 2])
        rows = f"row {cells.lines[place + 1]}"
        if before == own:
            what = f"{rows} has the date {own}, as the row before it"
            raise UserError(what, where=cells.source, fix="keep one row for each date")
        what = f"{rows} is of {own}, and the row before it of {before}"
        raise UserError(what, where=cells.source, fix="sort the rows, the oldest first")


def _parts(n: int, options: WindowOptions) -> dict[str, slice]:
    table = options.table
    return consecutive(n, table.valid_fraction, table.test_fraction, table.fold)


def _examples(
    series: _Series, options: WindowOptions, encoding: Encoding, notes: list[str]
) -> dict[str, Examples]:
    """The windows of each split, the oldest first: a view of the rows unless there are gaps.

    The targets are rows of the split. Windows to train on are too, and begin at every `stride`-th row; others
    may begin before the border, in rows that were known when the forecast would be made.
    """
    refuse_too_many(len(series.cells), options.table, encoding, series.cells.source)
    inputs, splits = inputs_of(series.cells, options.table, encoding, []), {}
    for name, part in _parts(len(series), options).items():
        stride, rows = (options.stride, part) if name == "train" else (1, _with_past(part, options.window))
        found = _cut_windows(series, inputs, rows, stride, options)
        if found is None:
            raise _too_short(series, options, name, len(series.steps[part]))
        splits[name] = found
    return splits


def _cut_windows(
    series: _Series, inputs: Tensor, rows: slice, stride: int, options: WindowOptions
) -> Examples | None:
    """The windows within some rows, one every `stride` rows, with their targets; None if there is none."""
    target = series.cells.numbers[options.table.target].float()
    before, behind = slice(options.window), slice(options.window, None)
    steps = series.steps[rows]
    spans = _windows(steps, options.needed, stride) if len(steps) >= options.needed else steps[:0, None]
    kept = spans[:, -1:] - spans[:, :1] == options.needed - 1
    if not kept.any():
        return None
    if not kept.all() and int(kept.sum()) * options.window * inputs.shape[1] > _MOST_COPIED:
        what = f"{int(kept.sum()):,} windows of {options.window:,} × {inputs.shape[1]:,} numbers"
        raise UserError(
            f"{what}, with gaps between: over 4 GiB", where=series.cells.source, fix="set a larger stride"
        )
    cut = partial(_cut, options.needed, stride, kept.squeeze(1))
    aside = {"step": cut(steps, behind)}
    if series.cells.date is not None:
        aside["date"] = cut(series.cells.date[rows], behind)
    aside |= _guesses(cut(target[rows], before), options)
    return Examples(cut(inputs[rows], before), cut(target[rows], behind), aside)


def _read_labelled(options: WindowOptions, encoding: Encoding, notes: list[str], path: Path) -> Examples:
    """Read another series: all its windows with the rows that follow each."""
    series = _series(read_table(path, options.table.reading), encoding.columns, options, notes)
    inputs = inputs_of(series.cells, options.table, encoding, [])
    found = _cut_windows(series, inputs, slice(None), 1, options)
    if found is None:
        what = f"in {len(series):,} rows there is no window of {options.window:,} rows and the"
        raise UserError(f"{what} {options.horizon:,} behind it without a gap", where=series.cells.source)
    return found


def _with_past(part: slice, window: int) -> slice:
    return slice(max(0, part.start - window), part.stop)


def _too_short(series: _Series, options: WindowOptions, name: str, rows: int) -> UserError:
    what = f"of {len(series):,} rows the {name} split gets {rows:,}: there is no window of "
    what += f"{options.window:,} rows and the {options.horizon:,} behind it without a gap"
    change = "take fewer folds" if options.table.fold else "change test_fraction or valid_fraction"
    fix = f"take a longer series, a smaller window or horizon, or {change}"
    return UserError(what, where=series.cells.source, fix=fix)


def _windows(rows: Tensor, size: int, stride: int) -> Tensor:
    """Windows (n, size, …) of rows (m, …), as a view: they overlap in memory too."""
    return rows.unfold(0, size, stride).movedim(-1, 1)


def _cut(size: int, stride: int, kept: Tensor, rows: Tensor, where: slice) -> Tensor:
    """A part of each window, of those that are `kept` (n,); a copy if some are not."""
    windows = _windows(rows, size, stride)[:, where]
    return windows if kept.all() else windows[kept]


def _guesses(past: Tensor, options: WindowOptions) -> dict[str, Tensor]:
    """The baselines (n, horizon), from the values of the target in each window, (n, window)."""
    found = {LAST: past[:, -1:].expand(-1, options.horizon)}
    if options.season:
        places = torch.arange(options.horizon) % options.season - options.season
        found[SEASON] = past[:, places]
    return found


def _fit(options: TableOptions, encoding: Encoding, training: Examples) -> Preprocessing:
    windows = single(training.inputs)
    # Of a view each row counts once, however many windows it is in.
    numbers = memory_of(windows) if overlaps(windows) else windows.flatten()
    return standardising(options, encoding, numbers.view(-1, windows.shape[2]))


def _read_new(
    options: WindowOptions, encoding: Encoding, interval: Interval | None, path: Path
) -> tuple[list[str], Tensor]:
    """Read the last window of a file: the date of each step ahead, or its number, and inputs (1, window, …).

    Earlier rows are not looked at. Raises UserError if the window is short of rows, or has a gap.
    """
    table, date = read_table(path, options.table.reading), options.table.date
    columns = [*encoding.columns, *(date if options.table.date_cycles else ())]
    refuse_missing_columns(table, columns)
    there = date if set(date) <= set(table.columns) else ()
    cells = parsed(table, replace(options.table, date=there), encoding.columns, [], labelled=False)
    if options.gaps == "join":
        cells, _ = _complete(cells, options, [])
    if len(cells) < options.window:
        what = f"the file has {len(cells):,} rows, but the model forecasts from {options.window:,}"
        raise UserError(what, where=cells.source)
    first = len(cells) - options.window
    if trouble := cells.trouble.among(np.arange(len(cells)) >= first):
        what = f"the model forecasts from the last {options.window:,} rows, but {cells.said(trouble)}"
        raise UserError(what, where=cells.source, fix="correct the file")
    cells = cells.take(range(first, len(cells)))
    steps = range(1, options.horizon + 1)
    names = [steps_ahead(step) for step in steps]
    if cells.date is not None:
        _refuse_disorder(cells)
    if cells.date is not None and interval:
        for place in (interval.distances(cells.date) != 1).nonzero().squeeze(1).tolist():
            before, own = said_dates(cells.date[place : place + 2])
            what = f"the model forecasts from {options.window:,} rows that are {interval} apart, but row "
            what += f"{cells.lines[place + 1]} is of {own}, the one before of {before}"
            raise UserError(what, where=cells.source, fix="add the rows between")
        last = int(cells.date[-1])
        with suppress(OverflowError):  # of dates after the year 9999
            names = said_dates(torch.tensor([interval.after(last, step) for step in steps]))
    return names, inputs_of(cells, options.table, encoding, []).unsqueeze(0)
