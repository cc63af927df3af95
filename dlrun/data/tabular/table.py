"""A table as a dataset: rows become inputs and targets, in splits, by an encoding that checkpoints keep."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlrun.config.data_paths import file_at
from dlrun.data.examples import Data, Examples, NewInputs
from dlrun.data.placement import OPEN, SPLITS, Placement
from dlrun.data.preprocessing import Preprocessing
from dlrun.data.table_files.csv_files import read_table
from dlrun.data.table_files.parsed_tables import CACHE
from dlrun.data.table_files.streamed_tables import streamed_tables
from dlrun.data.table_files.tables import ELSEWHERE, STRICT, Reading, RowNames, Table
from dlrun.data.table_files.workbooks import sheet_of_new_rows
from dlrun.data.tabular.cells import Cells, in_order
from dlrun.data.tabular.column_figures import Figures
from dlrun.data.tabular.column_names import as_named, forms_of, names_in
from dlrun.data.tabular.dates import ISO, formats_of
from dlrun.data.tabular.encoding import Encoding, TableOptions, different, places_of, sameness
from dlrun.data.tabular.far_values import ranges_of, said_far
from dlrun.data.tabular.guesses import codes_among, input_columns, settled, without_words
from dlrun.data.tabular.inputs import (
    Unseen,
    constant_columns,
    cycles_of,
    inputs_of,
    needs_float64,
    refuse_too_many,
    report_unseen,
    scaling_of_each,
    standardising,
    targets_of,
)
from dlrun.data.tabular.lags import (
    add_lags,
    gaps_of_lags,
    guesses_of,
    refuse_later_training,
    said_lags,
    series_of,
)
from dlrun.data.tabular.missing_words import read_as_missing, said_words
from dlrun.data.tabular.new_rows import new_rows
from dlrun.data.tabular.parsing import classes_of, parsed, without_trouble
from dlrun.data.tabular.refusals import (
    header_remedy,
    needed_columns,
    refuse_another_encoding,
    refuse_contradictions,
    refuse_missing_columns,
    refuse_other_roles_of_weights,
    refuse_text,
    refuse_unlabelled,
    refuse_unlearnable,
    some_columns,
)
from dlrun.data.tabular.row_weights import note_weights
from dlrun.data.tabular.splits import Rows, rows_of_splits, said_borders
from dlrun.data.trees import single
from dlrun.errors import UserError, listed

_AUTO = ("categorical", "dates")  # options that may be found by looking at the columns


def file_table(
    path: str,
    root: Path,
    texts: Sequence[str] = (),
    reading: Reading = STRICT,
    *,
    others: Mapping[str, str] | None = None,
) -> Table:
    """Read the table at a path, absolute or relative to the working directory or else to `root`.

    The columns of `texts` keep their texts even if they are numbers, such as 01. `others` are files of other
    splits, by the names of these: their rows follow.
    """
    if not others:
        return read_table(file_at(path, root), reading, texts, root / CACHE)
    table = read_table(
        [file_at(each, root) for each in (path, *others.values())], reading, texts, root / CACHE
    )
    parts = np.full(len(table), OPEN, np.int8)
    starts = [first for _, first in table.files[-len(others) :]]
    for split, start, end in zip(others, starts, [*starts[1:], len(table)], strict=True):
        parts[start:end] = SPLITS.index(split)
    return replace(table, parts=parts)


# The columns that keep their texts, and how the file is to be read -> the table.
Read = Callable[[Sequence[str], Reading], Table]


def table_data(read: Read, options: TableOptions, known: Mapping[str, Any] | None) -> Data:
    """A table, as `read` gives it, as a dataset. Without `known` it is read at once: inputs depend on it.

    Raises UserError for options that contradict each other or the table; ValueError, TypeError or KeyError
    for a malformed `known`.
    """
    refuse_contradictions(options)
    notes: list[str] = []
    if known is None:
        read = _by_names(read, names_in(options))
        dataset = _learnt(read, replace(options, keys_by="values"), notes)
    else:
        encoding = Encoding.remembered(known)
        read = _by_names(read, [*names_in(options), *encoding.columns])
        options = replace(
            options,
            formats=encoding.formats,
            keys_by=encoding.keys_by,
            step=encoding.step,
            categorical=[*encoding.categories] if options.categorical == "auto" else options.categorical,
            dates=[*encoding.dates] if options.dates == "auto" else options.dates,
        )
        dataset = _Dataset(options, encoding, notes)
        refuse_another_encoding(encoding, options)
    options, encoding, splits = dataset.options, dataset.encoding, dataset.splits
    features = encoding.features(options)
    return Data(
        task=options.task,
        input_shape=(len(features),),
        read=partial(dict, splits) if splits else partial(dataset.read, partial(read, options.texts)),
        classes=encoding.classes,
        features=features,
        date_features=tuple(encoding.dates),
        target="" if options.other_targets else options.target,
        target_names=options.targets if options.other_targets else (),
        targets=len(options.targets),
        unit=options.unit,
        weighted=options.weights is not None,
        scaling=encoding.scaling if options.scale_target else None,
        target_transform=encoding.target_transform,
        baselines=tuple(guesses_of(options)),
        lags=options.lagged,
        splits=encoding.placement.splits if encoding.placement else options.splits,
        fit=dataset.fit,
        read_new=dataset.read_new,
        read_labelled=dataset.read_labelled,
        name_of=dataset.names,
        known=encoding.known(),
        guessed=dataset.guessed,
        notes=notes,
        findings=dataset.findings,
    )


@dataclass
class _Dataset:
    """The rows of a table as examples, by an encoding; `guessed` are the options that the table suggested."""

    options: TableOptions
    encoding: Encoding
    notes: list[str]
    findings: list[str] = field(default_factory=list)
    splits: dict[str, Examples] = field(default_factory=dict)
    guessed: Mapping[str, Any] = field(default_factory=dict)
    names: RowNames = field(default_factory=RowNames)

    def read(self, read: Callable[[Reading], Table]) -> dict[str, Examples]:
        """All splits of a table."""
        table, cells = self._with_cells(read(self.options.reading), self.options)
        cells = without_trouble(cells, self.options, self.notes, findings=self.findings)
        note_weights(cells, self.options, self.findings)
        placement = self.encoding.placement
        rows, _ = rows_of_splits(cells, self.options, len(table), self.notes, placement)
        self.names.own = table.place
        return self.examples(cells, rows)

    def read_labelled(self, path: Path) -> Examples:
        """All rows of a file with their targets. Raises UserError if it has no target, or another class."""
        options = replace(self._options_for(path), split_column=None, group=None, stratify=None)
        table = self._new_table(path, options)
        refuse_unlabelled(table, options)
        if options.weights and options.weights not in table.columns:
            options = replace(options, weights=None)
        _, cells = self._with_cells(table, options)
        cells = without_trouble(cells, options, self.notes, findings=self.findings)
        self.notes += said_far(cells, self.encoding.ranges)
        self.names.other = table.place
        note_weights(cells, options, self.findings)
        return self.examples(cells, {"all": np.arange(len(cells))}, ELSEWHERE)["all"]

    def read_new(self, path: Path) -> Iterator[NewInputs]:
        """Yield the rows of a file for prediction, in pieces (see `new_rows`).

        The file needs neither the target nor the baselines, and dates only for `date_cycles`.
        """
        options = self._options_for(path)
        read = partial(self._tables, path, options)
        yield from new_rows(read, options, self.encoding, self.notes)

    def fit(self, training: Examples) -> Preprocessing:
        return standardising(self.options, self.encoding, single(training.inputs), training.weights)

    def examples(self, cells: Cells, rows: Rows, first: int = 0) -> dict[str, Examples]:
        """The examples of each split, in the order of its rows, which are numbered from `first` on."""
        options, encoding = self.options, self.encoding
        refuse_too_many(len(cells), options, encoding, cells.source)
        unseen: Unseen = []
        found, series = {}, torch.from_numpy(series_of(cells, options))
        for name, some in rows.items():
            own = cells.take(some)
            aside = {} if own.date is None else {"date": own.date}
            if options.series:
                aside["series"] = series[torch.from_numpy(some)]
            for baseline, columns in guesses_of(options).items():
                each = [(own.numbers[column], _usual(cells, column, rows)) for column in columns]
                guesses = [torch.where(one.isnan(), usual, one).float() for one, usual in each]
                aside[baseline] = torch.stack(guesses, 1) if len(guesses) > 1 else guesses[0]
            found[name] = Examples(
                inputs_of(own, options, encoding, unseen),
                targets_of(own, options, encoding.classes),
                aside,
                keys=own.keys,
                origin=None if own.rows is None else torch.from_numpy(own.rows).long() + first,
                weights=own.numbers.get(options.weights) if options.weights else None,
            )
        report_unseen(unseen, cells, options, encoding, self.notes)
        return found

    def _with_cells(self, table: Table, options: TableOptions) -> tuple[Table, Cells]:
        """A table and its cells, with those of the target."""
        columns = self.encoding.of_file(options)
        table = without_words(table, options.reading.na_values)
        refuse_missing_columns(table, [*needed_columns(options), *columns])
        cells = parsed(table, options, columns, self.encoding.categories)
        if words := {} if options.reading.is_strict else read_as_missing(cells):
            self.notes.append(said_words(words))
        if options.lags:
            add_lags(cells, table, options)
            self.findings.append(said_lags(options))
        return table, cells

    def _options_for(self, path: Path) -> TableOptions:
        """The options for a file of new rows, which may be written otherwise than that of training.

        If its cells are separated by commas, its numbers have decimal points, whatever those of training had.
        """
        reading = self.options.reading
        if reading.is_strict:
            return self.options
        header = reading.header if reading.header == "none" else "auto"
        sheet = sheet_of_new_rows(path, reading.sheet)
        reading = replace(reading, separator="auto", encoding="auto", header=header, sheet=sheet)
        options = replace(self.options, reading=reading)
        if reading.decimal != ",":
            return options
        table = next(self._tables(path, replace(options, reading=replace(reading, decimal="auto"))))
        if len(table.columns) == 1 or not {"separator", "decimal"}.isdisjoint(table.guessed):
            return options
        self.notes.append(f"{path.name} has decimal points, and the table of training has decimal commas")
        thousands = "" if options.thousands == "." else options.thousands
        return replace(options, reading=replace(reading, decimal="."), thousands=thousands)

    def _new_table(self, path: Path, options: TableOptions) -> Table:
        """A file of new rows."""
        texts = forms_of([*self.encoding.categories, *options.texts])
        return as_named(read_table(path, options.reading, texts), self._names(options))

    def _tables(self, path: Path, options: TableOptions, texts: Collection[str] = ()) -> Iterator[Table]:
        """A file of new rows, in tables; `texts` are columns of texts beside those of the options."""
        texts = forms_of([*self.encoding.categories, *options.texts, *texts])
        if options.lags:  # earlier rows may stand anywhere in the file
            tables = iter([read_table(path, options.reading, texts)])
        else:
            numbers = {*forms_of([*self.encoding.columns, *options.date])}.difference(texts)
            tables = streamed_tables(path, options.reading, texts, numbers)
        return (as_named(table, self._names(options)) for table in tables)

    def _names(self, options: TableOptions) -> list[str]:
        """The names of columns as the options and the model have them."""
        return [*names_in(options), *self.encoding.columns]


def _by_names(read: Read, names: Sequence[str]) -> Read:
    """Read a table whose columns are called as options and models do, in whatever form of Unicode."""
    return lambda texts, reading: as_named(read(forms_of(texts), reading), names)


def _usual(cells: Cells, column: str, rows: Rows) -> Tensor:
    """The mean of a column of guesses over the training rows, or over all if none of them is for training."""
    return cells.take(rows.get("train", np.arange(len(cells)))).numbers[column].nanmean()


def _learnt(read: Read, options: TableOptions, notes: list[str]) -> _Dataset:
    """Fit the encoding on the training rows of a table, and encode all its splits."""
    table = read(options.texts, options.reading)
    stated = options.targets
    target, *others = named_targets(stated, table)
    options = replace(options, target=target, other_targets=tuple(others))
    refuse_other_roles_of_weights(options, table.source)
    refuse_missing_columns(table, needed_columns(options))
    guessed, findings = dict(table.guessed), list(table.notes)
    if options.targets != stated:
        guessed["target"] = [*options.targets] if others else target
    if options.reading.is_strict:
        named = [name for key in _AUTO if (each := getattr(options, key)) != "auto" for name in each]
        literal = [name for name in options.ignore if not set("*?[") & set(name)]
        refuse_missing_columns(table, [*named, *literal])
        options = replace(
            options,
            categorical=() if options.categorical == "auto" else options.categorical,
            dates=() if options.dates == "auto" else options.dates,
        )
        table = without_words(table, options.reading.na_values)
    else:
        if decimal := table.guessed.get("decimal"):
            options = replace(options, reading=replace(options.reading, decimal=decimal))
        texts = options.texts
        if codes := codes_among(table, options):
            texts = (*texts, *codes)
            table = read(texts, options.reading)
        found = settled(without_words(table, options.reading.na_values), options)
        if "decimal" in found.changed:  # cells such as 1.000 were read with a point
            options = replace(options, reading=replace(options.reading, decimal=found.changed["decimal"]))
            guessed["decimal"] = found.changed["decimal"]
            findings.append("numbers have decimal commas")
            table = read(texts, options.reading)
            found = settled(without_words(table, options.reading.na_values), options)
        table, options = found.table, found.options
        findings += found.notes
        guessed |= found.changed
        if commas := _with_commas(table, options):
            again = read([*options.texts, *commas], options.reading).columns
            spelt = replace(table, columns={**table.columns, **{name: again[name] for name in commas}})
            table = without_words(spelt, options.reading.na_values)
    columns = input_columns(table, options)
    if not (columns or options.date_cycles or options.lags):
        raise UserError("beside the target there is no column to learn from", where=table.source)
    categorical = [column for column in columns if column in options.categorical]
    options = replace(options, formats=_formats(table, options))
    cells = parsed(table, options, columns, categorical)
    refuse_text(cells, table, options, columns)
    if options.lags:
        options = add_lags(cells, table, options)
        columns += options.lagged
        findings.append(said_lags(options))
        notes += gaps_of_lags(cells, options)
    cells = without_trouble(cells, options, notes, findings=findings)
    note_weights(cells, options, findings)
    classes = classes_of(cells, options)
    rows, placement = rows_of_splits(cells, options, len(table), notes)
    refuse_later_training(cells, rows, options)
    findings += said_borders(placement, options)
    training = cells.take(rows["train"])
    figures = training.figures()
    encoding = _fitted(training, figures, columns, classes, placement, options, findings)
    refuse_unlearnable(figures, encoding, options, table.source)
    notes += unlearnable_classes(training, classes, options)
    notes += constant_columns({name: figures[name] for name in columns if name in figures}, options)
    if options.scale_target == "auto":
        guessed["scale_target"] = encoding.scaling is not None
        options = replace(options, scale_target=encoding.scaling is not None)
    dataset = _Dataset(options, encoding, notes, findings, guessed=guessed, names=RowNames(table.place))
    del training
    dataset.splits = dataset.examples(cells, rows)
    return dataset


def _with_commas(table: Table, options: TableOptions) -> list[str]:
    """The categories that were read as numbers with decimal commas, and whose texts are lost: 12,80 is 12.8.

    A run reads them as texts, so that its rows would be other ones.
    """
    if options.reading.decimal != ",":
        return []
    columns = {name: table.columns[name] for name in options.categorical if name in table.columns}
    return [name for name, column in columns.items() if column.numbers is not None and not column.is_typed]


def _fitted(
    training: Cells,
    figures: Mapping[str, Figures],
    columns: Sequence[str],
    classes: tuple[str, ...],
    placement: Placement,
    options: TableOptions,
    findings: list[str],
) -> Encoding:
    """The encoding of rows by the training ones."""
    categories, others = dict[str, tuple[str, ...]](), list[str]()
    for column in columns:
        if column in options.categorical:
            categories[column], has_others = _categories(training, column, options, findings)
            others += [column] * has_others
    dates = {column: cycles_of(training.moments[column]) for column in columns if column in training.moments}
    filled = [column for column in columns if options.treatment(column) not in ("refuse", "drop")]
    indicators = [
        column
        for column in filled
        if options.treatment(column) == "auto"
        and (figures[column].missing if column in figures else bool(training.is_missing(column).any()))
    ]
    is_new = options.split_rule == "hash"
    return Encoding(
        tuple(columns),
        categories,
        classes,
        scaling_of_each(training, options),
        bool(filled),
        tuple(others),
        tuple(indicators),
        dates,
        options.formats,
        placement if is_new else None,
        is_wide=not is_new or needs_float64(each for name, each in figures.items() if name in columns),
        target_transform=options.target_transform,
        ranges=ranges_of(figures, [name for name in columns if name not in {*categories, *dates}]),
        keys_by=options.keys_by,
        lags=tuple(options.lags),
        series=tuple(options.series),
        step=options.step,
    )


def _categories(
    training: Cells, column: str, options: TableOptions, findings: list[str]
) -> tuple[tuple[str, ...], bool]:
    """The categories of a column in their order, and True if there are others, rare ones, beside them.

    Without `max_categories` all are taken. Else a category of a single training row is rare, and those beyond
    the most frequent are.
    """
    texts = training.texts[column]
    if options.max_categories is None and options.split_rule == "drawn":
        return in_order(texts.present), False
    counts: dict[str, int] = {}
    names = different(texts.present)
    place = places_of(names)
    for text, count in zip(texts.texts, texts.counts.tolist(), strict=True):
        if count:
            name = names[place(text)]
            counts[name] = counts.get(name, 0) + count
    same = sameness(names)  # the order is the same for 01, as a text, and for 1, as a number
    by_count = sorted(counts, key=lambda name: (-counts[name], same(name)))
    least = 1 if options.max_categories is None else 2
    kept = [name for name in by_count if counts[name] >= least][: options.max_categories]
    kept = kept or by_count[: options.max_categories]
    if rare := by_count[len(kept) :]:
        rows = sum(counts[name] for name in rare)
        become = "categories of {} become" if len(rare) > 1 else "category of {} becomes"
        said = f"{len(rare):,} rare {become.format(column)} other: {some_columns(rare[:3])}"
        more = "; max_categories keeps more" if counts[rare[0]] > 1 else ""
        findings.append(
            f"{said}{', …' if len(rare) > 3 else ''} ({rows:,} training row{'s' * (rows > 1)}){more}"
        )
    spellings = {same(name): name for name in kept}
    return tuple(spellings[name] for name in in_order(spellings)), bool(rare)


def _formats(table: Table, options: TableOptions) -> dict[str, str]:
    """The format of each column of dates: the stated one, or unless the reading is strict one that fits."""
    columns = [*options.dates, *(options.date if len(options.date) == 1 else ())]
    if options.date_format or options.reading.is_strict:
        return dict.fromkeys(columns, options.date_format)
    return {name: [*formats_of(table.columns[name].as_texts().texts), ISO][0] for name in columns}


def named_targets(stated: Iterable[str], table: Table) -> tuple[str, ...]:
    """The names of targets that may be stated by their place: 1 for the first column, -1 for the last."""
    found, columns = [], list(table.columns)
    for target in stated:
        if target in columns or not target.lstrip("-").isdigit():
            found.append(target)
            continue
        place = int(target)
        if not 1 <= abs(place) <= len(columns):
            what = f"there is no column {target}, nor a {target}. of {len(columns)} columns"
            raise UserError(f"{what} {listed(columns)}", where=table.source, fix=header_remedy(table))
        found.append(columns[place - 1 if place > 0 else place])
    return tuple(found)


def unlearnable_classes(training: Cells, classes: Sequence[str], options: TableOptions) -> list[str]:
    """A note that names the classes of no training row, if there are any."""
    place = places_of(training.texts[options.target].present if options.has_classes else ())
    if absent := [name for name in classes if place(name) < 0]:
        return [f"no training row is of the class {some_columns(absent)}: it cannot be learnt"]
    return []
