"""Inputs and targets of the rows of a table, by an encoding, and their preprocessing."""

from __future__ import annotations

import math
from calendar import isleap
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dlrun.data.examples import Scaling
from dlrun.data.log_targets import to_log
from dlrun.data.preprocessing import Preprocessing
from dlrun.data.tabular.cells import Cells
from dlrun.data.tabular.column_figures import Figures, median
from dlrun.data.tabular.dates import START
from dlrun.data.tabular.encoding import Cycle, Encoding, TableOptions, places_of
from dlrun.data.tabular.refusals import said_different, said_unseen, some_columns
from dlrun.errors import UserError, listed, meant

_MOST_FIGURES = 2**31  # numbers in all inputs together: 16 GiB
_MOST_QUANTILES = 1000  # of a column, as in scikit-learn
_DAY = 86400  # seconds
_BLUR = 1e-3  # of a standard deviation: the largest error of a number that float32 may make

Unseen = list[tuple[int, str, str]]  # the line, the column and the text of cells that no training row holds


def targets_of(cells: Cells, options: TableOptions, classes: Sequence[str]) -> Tensor:
    """The class (n,) of each row, or its numbers (n, d).

    Raises UserError for a class that is not known, and for a negative number whose logarithm is to be learnt.
    """
    if not options.has_classes:
        if options.target_transform == "log":
            _refuse_negative(cells, options.targets)
        return torch.stack([cells.numbers[name].float() for name in options.targets], 1)
    unseen: Unseen = []
    targets = _codes(cells, options.target, classes, unseen)
    if unseen:
        what = f"{said_unseen(unseen[0], len(unseen))}, no class of the model {listed(classes)}"
        raise UserError(what, where=cells.source)
    return targets


def _refuse_negative(cells: Cells, targets: Sequence[str]) -> None:
    for name in targets:
        if len(rows := np.flatnonzero(cells.numbers[name].numpy() < 0)):
            first = float(cells.numbers[name][int(rows[0])])
            more = f" (and so on in {len(rows) - 1:,} more rows)" if len(rows) > 1 else ""
            what = f"{name} holds {first:.6g} in row {int(cells.lines[rows[0]])}{more}: it has no log(1 + y)"
            raise UserError(what, where=cells.source, fix="set target_transform: null, or correct the cells")


def refuse_too_many(rows: int, options: TableOptions, encoding: Encoding, source: str) -> None:
    """Raise UserError if the inputs of so many rows would fill the memory."""
    width = len(encoding.features(options))
    if rows * width > _MOST_FIGURES:
        widest = max(encoding.categories, key=lambda c: len(encoding.categories[c]), default="")
        most = f", {said_different(len(encoding.categories[widest]))} in {widest} alone" if widest else ""
        what = f"{rows:,} rows of {width:,} inputs{most}: {rows * width / 2**27:,.0f} GiB"
        raise UserError(what, where=source, fix="list columns under ignore")


def inputs_of(cells: Cells, options: TableOptions, encoding: Encoding, unseen: Unseen) -> Tensor:
    """Raw inputs (n, features): numbers, one-hot categories, dates, their waves and indicators.

    They are float64, or float32 if the encoding says that this holds all that counts. Cells whose category no
    training row holds are added to `unseen`, see `report_unseen`.
    """
    width = len(encoding.features(options))
    inputs = torch.empty(len(cells), width, dtype=torch.float64 if encoding.is_wide else torch.float32)
    place = 0
    for column in encoding.columns:
        if column in encoding.categories:
            piece = _one_hot(cells, column, encoding, unseen)
        elif column in encoding.dates:
            moments = cells.moments[column]
            waves = [_waves(moments, cycle) for cycle in encoding.dates[column]]
            piece = torch.cat([moments.unsqueeze(1), *waves], 1)
        else:
            piece = cells.numbers[column].unsqueeze(1)
        inputs[:, place : place + piece.shape[1]] = piece
        place += piece.shape[1]
    waves = [_waves(cells.date, cycle) for cycle in options.date_cycles if cells.date is not None]
    missing = [cells.is_missing(column).double().unsqueeze(1) for column in encoding.indicators]
    inputs[:, place:] = torch.cat([torch.empty(len(cells), 0), *waves, *missing], 1)
    return inputs


def report_unseen(
    unseen: Unseen, cells: Cells, options: TableOptions, encoding: Encoding, notes: list[str]
) -> None:
    """Note cells whose category no training row holds, or by the option `unknown` raise UserError."""
    if not unseen:
        return
    unseen.sort(key=lambda each: (encoding.columns.index(each[1]), each[0]))
    if options.unknown == "refuse":
        _, column, text = unseen[0]
        values = encoding.categories[column]
        what = f"{said_unseen(unseen[0], len(unseen))}, which no training row holds{meant(text, values)}"
        fix = "set unknown: zeros, and such cells are of no category"
        raise UserError(f"{what} {listed(values)}", where=cells.source, fix=fix)
    is_every_row = len({line for line, _, _ in unseen}) == len(cells) > 1
    notes.append(note_of_unseen(unseen[0], len(unseen), is_every_row=is_every_row))


def note_of_unseen(first: tuple[int, str, str], count: int, *, is_every_row: bool) -> str:
    """A note on `count` cells whose category no training row holds, of which it names the first."""
    line, column, text = first
    if count == 1:
        return (
            f"{column} holds {text[:40]!r} in row {line}, which no training row holds: it is of no category"
        )
    which = f"{column} in row {line} ({text[:40]!r}), …"
    note = f"{count:,} cells hold what no training row holds, and are of no category: {which}"
    return f"{note} – that is every row: are these the same categories?" if is_every_row else note


def needs_float64(figures: Iterable[Figures]) -> bool:
    """True if a column of numbers or dates has so large values that float32 would blur its differences."""
    half_step = 2**-24  # of a number: the largest error that float32 makes of it
    sizes = ((max(abs(each.low), abs(each.high)), each.deviation) for each in figures if each.count)
    return any(size * half_step > _BLUR * deviation > 0 for size, deviation in sizes)


def standardising(
    options: TableOptions, encoding: Encoding, inputs: Tensor, weights: Tensor | None = None
) -> Preprocessing:
    """Standardise numbers to mean 0 and standard deviation 1 over training rows (n, features).

    With `weights` (n,) these are weighted, but not quantiles; rows of weight 0 tell nothing.
    Other inputs are left unchanged. A number that is constant in training becomes 0 in all rows, because its
    weight never learnt anything. By the option `scale`, other figures than mean and deviation are taken.
    """
    if weights is not None:
        inputs, weights = inputs[weights > 0], weights[weights > 0]
    if options.standardise and options.scale != "standard":
        return _by_quantiles(options, encoding, inputs, weights)
    if inputs.dtype == torch.float32 or weights is not None:
        return _standardising_each(options, encoding, inputs, weights)
    are_numbers = encoding.are_numbers(options)
    means = torch.where(are_numbers, inputs.nanmean(0), 0.0)
    fill = _fills(options, encoding, inputs, means, None) if encoding.fills else None
    if not options.standardise:
        return Preprocessing(fill=fill)
    deviations = (inputs - means).square().nanmean(0).sqrt()
    deviations[are_same(inputs) | (deviations == 0)] = math.inf  # 0: squares of 1e-300 underflow
    return Preprocessing(means, torch.where(are_numbers, deviations, 1.0), fill)


def _standardising_each(
    options: TableOptions, encoding: Encoding, inputs: Tensor, weights: Tensor | None
) -> Preprocessing:
    """The same, column by column in float64, without a copy of all of them."""
    counts = None if weights is None else weights.numpy()
    are_numbers = encoding.are_numbers(options)
    means, deviations = torch.zeros(len(are_numbers)).double(), torch.ones(len(are_numbers)).double()
    for place in are_numbers.nonzero().squeeze(1).tolist():
        figures = Figures.of(inputs[:, place].numpy(), counts)
        means[place] = figures.mean
        deviations[place] = math.inf if figures.is_constant or not figures.deviation else figures.deviation
    fill = _fills(options, encoding, inputs, means, weights) if encoding.fills else None
    if not options.standardise:
        return Preprocessing(fill=fill)
    return Preprocessing(means, deviations, fill)


def _by_quantiles(
    options: TableOptions, encoding: Encoding, inputs: Tensor, weights: Tensor | None
) -> Preprocessing:
    """Scale numbers by median and interquartile range, or with `scale: quantile` by their normal ranks."""
    are_numbers = encoding.are_numbers(options)
    means, offsets = torch.zeros(2, len(are_numbers)).double()
    scales = torch.ones(len(are_numbers)).double()
    shares = np.linspace(0, 1, min(len(inputs), _MOST_QUANTILES))
    ranked: list[int] = []
    quantiles: list[np.ndarray] = []
    for place in are_numbers.nonzero().squeeze(1).tolist():
        values = inputs[:, place].double().numpy()
        figures = Figures.of(values, None if weights is None else weights.numpy())
        means[place] = figures.mean
        if figures.is_constant:
            offsets[place], scales[place] = figures.mean, math.inf
        elif options.scale == "robust":
            low, offsets[place], high = np.nanquantile(values, (0.25, 0.5, 0.75)).tolist()
            scales[place] = (high - low) or figures.deviation or math.inf
        else:
            ranked.append(place)
            # rounding may leave an interpolated one below the one before
            quantiles.append(np.maximum.accumulate(np.nanquantile(values, shares)))
    fill = _fills(options, encoding, inputs, means, weights) if encoding.fills else None
    if not ranked:
        return Preprocessing(offsets, scales, fill)
    table = torch.from_numpy(np.stack(quantiles))
    return Preprocessing(offsets, scales, fill, quantiles=table, ranked=torch.tensor(ranked))


def scaling_of(targets: Tensor | None, weights: Tensor | None = None) -> tuple[float, float] | None:
    """Mean and standard deviation of the training targets; None if the deviation is 0.

    With `weights` (n,) they are weighted.
    """
    if targets is None:
        return None
    if weights is not None:
        figures = Figures.of(targets.numpy(), weights.numpy())
        return None if figures.is_constant else (figures.mean, figures.deviation)
    return None if are_same(targets) else (float(targets.mean()), float(targets.std(correction=0)))


def scaling_of_each(cells: Cells, options: TableOptions) -> Scaling | None:
    """The same of one target, or of several, as the loss sees them; None if any of them does not vary."""
    targets = [cells.numbers.get(name) for name in options.targets]
    if options.target_transform == "log":
        targets = [None if each is None else to_log(each) for each in targets]
    weights = cells.numbers.get(options.weights) if options.weights else None
    pairs = [pair for each in targets if (pair := scaling_of(each, weights))]
    if len(pairs) < len(targets) or len(pairs) == 1:
        return pairs[0] if len(targets) == len(pairs) else None
    return tuple(mean for mean, _ in pairs), tuple(deviation for _, deviation in pairs)


def constant_columns(figures: Mapping[str, Figures], options: TableOptions) -> list[str]:
    """A note that names the columns of numbers which are the same in all training rows, if it matters."""
    constant = [column for column, each in figures.items() if each.is_constant]
    if not constant or not options.standardise:
        return []
    are, become = ("are", "become") if len(constant) > 1 else ("is", "becomes")
    return [f"{some_columns(constant)} {are} the same in all training rows, and {become} 0"]


def cycles_of(moments: Tensor) -> tuple[Cycle, ...]:
    """The cycles that dates (n,) in seconds since 1970, or nan, go through at least once, and not in step."""
    there = moments[~moments.isnan()]
    span = float(there.max() - there.min()) if len(there) else 0.0
    days = (there / _DAY).floor()
    has_times = bool((there % _DAY != 0).any())
    found: list[Cycle] = []
    if span >= 365 * _DAY and len((days % 365.25).round().unique()) > 2:
        found.append("year")
    if span >= 14 * _DAY and len((days % 7).unique()) > 1 and span / max(1, len(there.unique())) < 7 * _DAY:
        found.append("week")
    return (*found, "day") if has_times and len((there % _DAY).unique()) > 1 else tuple(found)


def are_same(values: Tensor) -> Tensor:
    """True for each column (axis 1) whose values are all equal, missing ones aside."""
    lowest = torch.where(values.isnan(), math.inf, values).amin(0)
    return lowest == torch.where(values.isnan(), -math.inf, values).amax(0)


def _one_hot(cells: Cells, column: str, encoding: Encoding, unseen: Unseen) -> Tensor:
    """The category of each cell as a vector (n, categories), of zeros for one that is none of them."""
    values, has_other = encoding.categories[column], column in encoding.others
    codes = _codes(cells, column, values, [] if has_other else unseen)
    if has_other:
        is_other = (codes < 0) & torch.from_numpy(~cells.texts[column].missing)
        codes = torch.where(is_other, len(values), codes)
    return one_hot(codes + 1, len(values) + has_other + 1)[:, 1:].double()  # code -1: all zeros


def _codes(cells: Cells, column: str, values: Sequence[str], unseen: Unseen) -> Tensor:
    """The place of each cell among some values, (n,), or -1 if it is missing or not among them.

    Such texts are added to `unseen`.
    """
    held = cells.texts[column]
    assert held.codes is not None, "it was read as texts"
    place = places_of(values)
    places = np.array([*map(place, held.texts), -1], np.int64)
    codes = places[held.codes]
    for row in np.flatnonzero((codes < 0) & (held.codes >= 0)).tolist():
        unseen.append((int(cells.lines[row]), column, held.texts[held.codes[row]]))
    return torch.from_numpy(codes)


def _fills(
    options: TableOptions, encoding: Encoding, inputs: Tensor, means: Tensor, weights: Tensor | None
) -> Tensor:
    """The numbers (features,) that stand in for missing ones: stated, or means or medians of training."""
    fill, names = means.clone(), encoding.features(options)
    for column in encoding.columns:
        if column in encoding.categories:
            continue
        place, treatment = names.index(column), options.treatment(column)
        if isinstance(treatment, int | float):
            fill[place] = treatment
        elif treatment == "auto":
            # of an even number of values the mean of the two in the middle, unlike PyTorch's
            values = inputs[:, place].numpy()
            fill[place] = float(np.nanmedian(values)) if weights is None else median(values, weights.numpy())
    return fill


def _waves(seconds: Tensor, cycle: Cycle) -> Tensor:
    """Sine and cosine of the position within the year, the week (from Monday) or the day, (n, 2).

    Both are 0 where the time is nan.
    """
    there = torch.nan_to_num(seconds.double())
    if cycle == "year":
        distinct, places = there.unique(return_inverse=True)
        moments = [START + timedelta(seconds=value) for value in distinct.tolist()]
        gone = [
            (moment - START.replace(year=moment.year)) / timedelta(days=365 + isleap(moment.year))
            for moment in moments
        ]
        share = torch.tensor(gone, dtype=torch.float64)[places]
    else:
        days = there / _DAY
        share = days % 1 if cycle == "day" else (days + 3) % 7 / 7  # 1970 began on a Thursday
    angle = 2 * math.pi * share
    waves = torch.stack([angle.sin(), angle.cos()], 1)
    return torch.where(seconds.isnan().unsqueeze(1), 0.0, waves) if seconds.is_floating_point() else waves
