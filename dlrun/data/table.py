"""A table as a dataset: rows become inputs and targets, in splits, by an encoding that checkpoints keep."""

from __future__ import annotations

import math
from calendar import isleap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dlrun.config.data_paths import file_at
from dlrun.data.cells import START, Cells, in_order
from dlrun.data.csv_files import read_table
from dlrun.data.examples import Data, Examples, Preprocessing, carve
from dlrun.data.table_encoding import Cycle, Encoding, TableOptions
from dlrun.data.table_refusals import (
    needed_columns,
    refuse_another_encoding,
    refuse_contradictions,
    refuse_missing_columns,
    refuse_text,
    refuse_unlearnable,
    said_unseen,
    some_columns,
)
from dlrun.data.tables import Table
from dlrun.data.trees import single
from dlrun.errors import UserError, listed, meant

_MOST_CLASSES = 1000
_MOST_FIGURES = 2**29  # numbers in all inputs together: 4 GiB


def file_table(path: str, root: Path, texts: Sequence[str] = ()) -> Table:
    """Read the table at a path, absolute or relative to the working directory or else to `root`.

    The columns of `texts` keep their texts even if they are numbers, such as 01.
    """
    return read_table(file_at(path, root), texts=texts)


def table_data(read: Callable[[], Table], options: TableOptions, known: Mapping[str, Any] | None) -> Data:
    """A table as a dataset. Without `known` it is read at once, for the inputs depend on its columns.

    Raises UserError for options that contradict each other or the table; ValueError, TypeError or KeyError
    for a malformed `known`.
    """
    refuse_contradictions(options)
    notes: list[str] = []
    splits: dict[str, Examples] | None = None
    if known is None:
        encoding, splits = _learn(read(), options, notes)
    else:
        encoding = Encoding.remembered(known)
        refuse_another_encoding(encoding, options)
    features = encoding.features(options)
    return Data(
        task=options.task,
        input_shape=(len(features),),
        read=partial(_splits, read, options, encoding, notes) if splits is None else partial(dict, splits),
        classes=encoding.classes,
        features=features,
        target=options.target,
        unit=options.unit,
        scaling=encoding.scaling if options.scale_target else None,
        baselines=tuple(options.baselines),
        splits=options.splits,
        fit=partial(_fit, options, encoding),
        read_new=partial(_read_new, options, encoding, notes),
        known=encoding.known(),
        notes=notes,
    )


def _learn(table: Table, options: TableOptions, notes: list[str]) -> tuple[Encoding, dict[str, Examples]]:
    """Fit the encoding on the training rows, and encode all splits of the table."""
    refuse_missing_columns(table, [*needed_columns(options), *options.categorical, *options.ignore])
    left_out = {options.target, *options.ignore, *(options.date if len(options.date) == 1 else ())}
    columns = [column for column in table.columns if column not in left_out]
    if not columns and not options.date_cycles:
        raise UserError("beside the target there is no column to learn from", where=table.source)
    categorical = [column for column in columns if column in options.categorical]
    cells = parsed(table, options, columns, categorical)
    refuse_text(cells, table, options, columns)
    cells = without_trouble(cells, options, notes)
    classes = classes_of(cells, options)
    rows = rows_of_splits(cells, options, len(table))
    training = cells.take(rows["train"])
    encoding = Encoding(
        tuple(columns),
        {column: in_order(training.texts[column]) for column in categorical},
        classes,
        scaling_of(training.numbers.get(options.target)),
        options.missing == "fill",
    )
    refuse_unlearnable(training, encoding, options)
    notes += unlearnable_classes(training, classes, options)
    notes += constant_columns(training, columns, options)
    return encoding, _examples(cells, rows, options, encoding, notes)


def classes_of(cells: Cells, options: TableOptions) -> tuple[str, ...]:
    """The classes that the target's cells name, () in a regression. Raises UserError for one or too many."""
    if not options.has_classes:
        return ()
    classes = in_order(cells.texts[options.target])
    if not 2 <= len(classes) <= _MOST_CLASSES:
        has = f"{options.target} has {_different(len(classes))}"
        fix = "for numbers set task: regression" if len(classes) > 1 else "name another target"
        raise UserError(f"{has}, but classes are 2 to {_MOST_CLASSES:,}", where=cells.source, fix=fix)
    return classes


def unlearnable_classes(training: Cells, classes: Sequence[str], options: TableOptions) -> list[str]:
    """A note that names the classes of no training row, if there are any."""
    seen = set(training.texts.get(options.target, classes))
    if absent := [name for name in classes if name not in seen]:
        return [f"no training row is of the class {some_columns(absent)}: it cannot be learnt"]
    return []


def constant_columns(training: Cells, columns: Sequence[str], options: TableOptions) -> list[str]:
    """A note that names the columns of numbers which are the same in all training rows, if it matters."""
    constant = [c for c in columns if c in training.numbers and _are_same(training.numbers[c])]
    if not constant or not options.standardise:
        return []
    are, become = ("are", "become") if len(constant) > 1 else ("is", "becomes")
    return [f"{some_columns(constant)} {are} the same in all training rows, and {become} 0"]


def _splits(
    read: Callable[[], Table], options: TableOptions, encoding: Encoding, notes: list[str]
) -> dict[str, Examples]:
    """All splits of a table, with an encoding from a checkpoint."""
    table = read()
    refuse_missing_columns(table, [*needed_columns(options), *encoding.columns])
    cells = without_trouble(parsed(table, options, encoding.columns, encoding.categories), options, notes)
    rows = rows_of_splits(cells, options, len(table))
    return _examples(cells, rows, options, encoding, notes)


def _read_new(
    options: TableOptions, encoding: Encoding, notes: list[str], path: Path
) -> tuple[list[str], Tensor]:
    """Read the rows of a file for prediction: a name (date or `row 2`), and raw inputs (n, features).

    The file needs neither the target nor the baselines, and dates only for `date_cycles`. Raises UserError
    if input columns are missing.
    """
    table = read_table(path, texts=encoding.categories)
    bare = replace(options, baselines={}, date=options.date if options.date_cycles else ())
    refuse_missing_columns(table, [*bare.date, *encoding.columns])
    cells = parsed(table, bare, encoding.columns, encoding.categories, labelled=False)
    if not bare.date and options.date and set(options.date) <= set(table.columns):
        dated = Cells(cells.source, cells.lines)
        dated.read_dates(table, options.date)
        cells.date = None if dated.trouble else dated.date
    try:
        cells = without_trouble(cells, bare, notes, labelled=False)
        return cells.names(), inputs_of(cells, options, encoding, notes)
    except UserError as error:
        fix = "correct the file; the treatment of missing and unknown cells is fixed at training"
        raise UserError(error.what, where=error.where, fix=fix) from None


def parsed(
    table: Table,
    options: TableOptions,
    columns: Iterable[str],
    categorical: Iterable[str],
    *,
    labelled: bool = True,
) -> Cells:
    """Parse the cells of the inputs and the date, and with `labelled` of the target and the baselines."""
    cells, texts = Cells(table.source, list(table.lines)), list(categorical)
    numbers = [column for column in columns if column not in set(texts)]
    if labelled:
        (texts if options.has_classes else numbers).append(options.target)
        numbers += options.baselines.values()
    for column in dict.fromkeys(numbers):
        cells.read_numbers(table, column)
    for column in texts:
        cells.read_texts(table, column)
    if options.date:
        cells.read_dates(table, options.date)
    return cells


def without_trouble(
    cells: Cells,
    options: TableOptions,
    notes: list[str],
    *,
    labelled: bool = True,
    fillable: bool = True,
) -> Cells:
    """Apply the option `missing`: drop, fill or refuse rows with missing cells, and note what was done.

    A dataset that cannot fill has no such option.
    """
    if not cells.trouble:
        return cells
    said = cells.said(cells.trouble)
    if options.missing == "refuse":
        fix = "correct them, or set missing: drop (leaves such rows out)"
        fix += " or fill (takes the mean of training)" * fillable
        raise UserError(said, where=cells.source, fix=fix)
    essential = {*options.date, *[options.target] * labelled}
    bad = {row for row, column in cells.trouble if options.missing == "drop" or column in essential}
    if len(bad) == len(cells):
        raise UserError(f"no row is left: {said}", where=cells.source)
    if bad:
        why = cells.said({place: text for place, text in cells.trouble.items() if place[0] in bad})
        are = "is" if len(bad) == 1 else "are"
        notes.append(f"{len(bad):,} of {len(cells):,} rows {are} left out: {why}")
    if filled := {place: text for place, text in cells.trouble.items() if place[0] not in bad}:
        notes.append(f"the mean of training, or no category, stands in: {cells.said(filled)}")
    return cells.take([row for row in range(len(cells)) if row not in bad])


def rows_of_splits(cells: Cells, options: TableOptions, total: int) -> dict[str, list[int]]:
    """The rows of each split, chosen among the remaining ones of `total`.

    In a chronological split the last rows are the test split, those before the validation split.
    """
    n = len(cells)
    classes = in_order(cells.texts[options.target]) if options.has_classes else ()
    if (options.split or ("chronological" if options.date else "random")) == "chronological":
        assert cells.date is not None, "this split is refused without dates"
        order = cells.date.argsort(stable=True).tolist()
        dates = cells.date[order].tolist()
        test = _between_dates(dates, n - round(options.test_fraction * n))
        valid = _between_dates(dates, test - round(options.valid_fraction * test))
        rows = {"train": order[:valid], "valid": order[valid:test], "test": order[test:]}
    else:
        labels = _codes(cells, options.target, classes, []) if classes else torch.zeros(n, dtype=torch.long)
        everything = Examples(torch.arange(n), labels)
        rest, test_rows = carve(everything, options.test_fraction, options.seed, by_class=bool(classes))
        train_rows, valid_rows = carve(rest, options.valid_fraction, options.seed, by_class=bool(classes))
        parts = {"train": train_rows, "valid": valid_rows, "test": test_rows}
        rows = {name: single(part.inputs).tolist() for name, part in parts.items()}
    for name in options.splits:
        if len(rows[name]) < 2:
            said = f"{n:,} row{'s' * (n > 1)}" + (f" left of {total:,}" if n < total else "")
            said += f" in {len(classes):,} classes" if classes else ""
            what = f"of {said} the {name} split gets {len(rows[name])}, but needs 2"
            fix = "add rows, or change test_fraction or valid_fraction"
            raise UserError(what, where=cells.source, fix=fix)
    return {name: rows[name] for name in options.splits}


def _between_dates(dates: Sequence[int], border: int) -> int:
    """Move a split's border among sorted dates so that no date has rows on both sides.

    If no later date follows, it moves to the start of the last one; with a single date it stays.
    """
    starts = [0, *(place for place in range(1, len(dates)) if dates[place] != dates[place - 1])]
    if border in (0, len(dates)) or len(starts) == 1:
        return border
    return next((start for start in starts if start >= border), starts[-1])


def _examples(
    cells: Cells, rows: Mapping[str, list[int]], options: TableOptions, encoding: Encoding, notes: list[str]
) -> dict[str, Examples]:
    """The examples of each split, in the order of its rows."""
    targets = targets_of(cells, options, encoding.classes)
    aside = {} if cells.date is None else {"date": cells.date}
    for name, column in options.baselines.items():
        guesses = cells.numbers[column]
        usual = guesses[torch.tensor(rows["train"])].nanmean()
        aside[name] = torch.where(guesses.isnan(), usual, guesses).float()
    whole = Examples(inputs_of(cells, options, encoding, notes), targets, aside)
    return {name: whole.take(torch.tensor(some)) for name, some in rows.items()}


def targets_of(cells: Cells, options: TableOptions, classes: Sequence[str]) -> Tensor:
    """The class (n,) of each row, or its number (n, 1). Raises UserError for a class that is not known."""
    if not options.has_classes:
        return cells.numbers[options.target].float().unsqueeze(1)
    unseen: list[tuple[int, str, str]] = []
    targets = _codes(cells, options.target, classes, unseen)
    if unseen:
        what = f"{said_unseen(unseen)}, no class of the model {listed(classes)}"
        raise UserError(what, where=cells.source)
    return targets


def inputs_of(cells: Cells, options: TableOptions, encoding: Encoding, notes: list[str]) -> Tensor:
    """Raw inputs (n, features), float64: numbers, one-hot categories, sines and cosines of the date."""
    width = len(encoding.features(options))
    if len(cells) * width > _MOST_FIGURES:
        widest = max(encoding.categories, key=lambda c: len(encoding.categories[c]), default="")
        most = f", {_different(len(encoding.categories[widest]))} in {widest} alone" if widest else ""
        what = f"{len(cells):,} rows of {width:,} inputs{most}: {len(cells) * width / 2**27:,.0f} GiB"
        raise UserError(what, where=cells.source, fix="list columns under ignore")
    pieces: list[Tensor] = []
    unseen: list[tuple[int, str, str]] = []
    for column in encoding.columns:
        if column in encoding.categories:
            values = encoding.categories[column]
            codes = _codes(cells, column, values, unseen)
            pieces.append(one_hot(codes + 1, len(values) + 1)[:, 1:].double())  # code -1: all zeros
        else:
            pieces.append(cells.numbers[column].unsqueeze(1))
    if unseen and options.unknown == "refuse":
        _, column, text = unseen[0]
        values = encoding.categories[column]
        what = f"{said_unseen(unseen)}, which no training row holds{meant(text, values)}"
        fix = "set unknown: zeros, and such cells are of no category"
        raise UserError(f"{what} {listed(values)}", where=cells.source, fix=fix)
    if unseen:
        notes.append(f"{said_unseen(unseen)}, which no training row holds: of no category")
    pieces += [_waves(cells.date, cycle) for cycle in options.date_cycles if cells.date is not None]
    return torch.cat(pieces, 1)


def _fit(options: TableOptions, encoding: Encoding, training: Examples) -> Preprocessing:
    return standardising(options, encoding, single(training.inputs))


def standardising(options: TableOptions, encoding: Encoding, inputs: Tensor) -> Preprocessing:
    """Standardise numbers to mean 0 and standard deviation 1 over training rows (n, features).

    Other inputs are left unchanged. A number that is constant in training becomes 0 in all rows, because its
    weight never learnt anything.
    """
    are_numbers = encoding.are_numbers(options)
    means = torch.where(are_numbers, inputs.nanmean(0), 0.0)
    fill = means if options.missing == "fill" else None
    if not options.standardise:
        return Preprocessing(fill=fill)
    deviations = (inputs - means).square().nanmean(0).sqrt()
    deviations[_are_same(inputs) | (deviations == 0)] = math.inf  # 0: squares of 1e-300 underflow
    return Preprocessing(means, torch.where(are_numbers, deviations, 1.0), fill)


def scaling_of(targets: Tensor | None) -> tuple[float, float] | None:
    """Mean and standard deviation of the training targets; None if the deviation is 0."""
    if targets is None or _are_same(targets):
        return None
    return float(targets.mean()), float(targets.std(correction=0))


def _waves(seconds: Tensor, cycle: Cycle) -> Tensor:
    """Sine and cosine of the position within the year, the week (from Monday) or the day, (n, 2)."""
    if cycle == "year":
        moments = [START + timedelta(seconds=value) for value in seconds.tolist()]
        gone = [
            (moment - START.replace(year=moment.year)) / timedelta(days=365 + isleap(moment.year))
            for moment in moments
        ]
        share = torch.tensor(gone, dtype=torch.float64)
    else:
        days = seconds.double() / 86400
        share = days % 1 if cycle == "day" else (days + 3) % 7 / 7  # 1970 began on a Thursday
    angle = 2 * math.pi * share
    return torch.stack([angle.sin(), angle.cos()], 1)


def _codes(cells: Cells, column: str, values: Sequence[str], unseen: list[tuple[int, str, str]]) -> Tensor:
    """The index of each cell in `values`, (n,), or -1 if it is not among them.

    Such texts are added to `unseen` with their line and column.
    """
    places = {value: place for place, value in enumerate(values)}
    codes = [places.get(text, -1) for text in cells.texts[column]]
    for line, text, code in zip(cells.lines, cells.texts[column], codes, strict=True):
        if code < 0 and text:
            unseen.append((line, column, text))
    return torch.tensor(codes)


def _are_same(values: Tensor) -> Tensor:
    """True for each column (axis 1) whose values are all equal, missing ones aside."""
    lowest = torch.where(values.isnan(), math.inf, values).amin(0)
    return lowest == torch.where(values.isnan(), -math.inf, values).amax(0)


def _different(n: int) -> str:
    return "a single value" if n == 1 else f"{n:,} different values"
