"""A table as a dataset: rows become inputs and targets, in splits, by an encoding that checkpoints keep."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlrun.config.data_paths import file_at
from dlrun.data.examples import Data, Examples, NewInputs
from dlrun.data.placement import OPEN, SPLITS, Rows
from dlrun.data.preprocessing import Preprocessing
from dlrun.data.table_files.csv_files import read_table
from dlrun.data.table_files.parsed_tables import CACHE
from dlrun.data.table_files.streamed_tables import streamed_tables
from dlrun.data.table_files.tables import ELSEWHERE, STRICT, Reading, RowNames, Table
from dlrun.data.table_files.workbooks import sheet_of_new_rows
from dlrun.data.tabular.cells import Cells
from dlrun.data.tabular.column_figures import Figures
from dlrun.data.tabular.column_names import as_named, forms_of, names_in
from dlrun.data.tabular.dates import formats_of, is_date, said_format
from dlrun.data.tabular.encoding import Encoding, TableOptions
from dlrun.data.tabular.far_values import said_far
from dlrun.data.tabular.fitting import fitted
from dlrun.data.tabular.guesses import without_words
from dlrun.data.tabular.inputs import (
    Unseen,
    inputs_of,
    refuse_too_many,
    report_unseen,
    standardising,
    targets_of,
)
from dlrun.data.tabular.lags import add_lags, baselines_of, names_of_series, said_lags, series_of
from dlrun.data.tabular.missing_words import read_as_missing, said_words
from dlrun.data.tabular.new_rows import new_rows
from dlrun.data.tabular.parsing import parsed, without_trouble
from dlrun.data.tabular.refusals import (
    needed_columns,
    refuse_another_encoding,
    refuse_contradictions,
    refuse_missing_columns,
    refuse_unlabelled,
)
from dlrun.data.tabular.row_weights import note_weights
from dlrun.data.tabular.settled_tables import Read, SettledTable, settled_table
from dlrun.data.tabular.splits import rows_of_splits
from dlrun.data.trees import single
from dlrun.system.machine import give_back_freed_memory


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


def table_data(read: Read, options: TableOptions, known: Mapping[str, Any] | None) -> Data:
    """A table, as `read` gives it, as a dataset. Without `known` it is read at once: inputs depend on it.

    Raises UserError for options that contradict each other or the table; ValueError, TypeError or KeyError
    for a malformed `known`.
    """
    refuse_contradictions(options)
    notes: list[str] = []
    if known is None:
        read = _by_names(read, names_in(options))
        dataset = _learnt(settled_table(read, options), notes)
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
        columns=encoding.columns_of_features(options),
        date_features=tuple(encoding.dates),
        target="" if options.other_targets else options.target,
        target_names=options.targets if options.other_targets else (),
        targets=len(options.targets),
        unit=options.unit,
        weighted=options.weights is not None,
        scaling=encoding.scaling if options.scale_target else None,
        target_transform=encoding.target_transform,
        baselines=baselines_of(options),
        lags=options.lagged,
        splits=encoding.placement.splits if encoding.placement else options.splits,
        fit=dataset.fit,
        read_new=dataset.read_new,
        read_labelled=dataset.read_labelled,
        name_of=dataset.names,
        name_of_series=dataset.series_names if options.series else None,
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
    series_names: RowNames = field(default_factory=RowNames)

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
        self.notes += table.passed_over
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
        found, series = {}, self._series(cells, options, first)
        weights = cells.numbers.get(options.weights) if options.weights else None
        for name, some in rows.items():
            own = cells.take(some)
            aside = {} if own.date is None else {"date": own.date}
            if options.series:
                aside["series"] = series[torch.from_numpy(some)]
            for baseline, column in options.baselines.items():
                aside[baseline] = _with_usual(own.numbers[column], cells.numbers[column], rows, weights)
            for baseline, guesses in own.guesses.items():
                usual = _with_usual(guesses, cells.guesses[baseline], rows, weights)
                aside[baseline] = usual.squeeze(1)
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

    def _series(self, cells: Cells, options: TableOptions, first: int) -> Tensor:
        """The number of the series (n,) of each row, from `first` on, whose names it notes."""
        numbers = series_of(cells, options)
        if options.series:
            name_of = names_of_series(cells, options, numbers).__getitem__
            if first == ELSEWHERE:
                self.series_names.other = name_of
            else:
                self.series_names.own = name_of
        return torch.from_numpy(numbers) + first

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
        options = self._with_formats(path, replace(self.options, reading=reading))
        if reading.decimal != ",":
            return options
        table = next(self._tables(path, replace(options, reading=replace(reading, decimal="auto"))))
        if len(table.columns) == 1 or not {"separator", "decimal"}.isdisjoint(table.guessed):
            return options
        self.notes.append(f"{path.name} has decimal points, and the table of training has decimal commas")
        thousands = "" if options.thousands == "." else options.thousands
        return replace(options, reading=replace(reading, decimal="."), thousands=thousands)

    def _with_formats(self, path: Path, options: TableOptions) -> TableOptions:
        """The options with other formats for dates that are written otherwise than those of training."""
        if not options.formats:
            return options
        table, found = next(self._tables(path, options)), dict[str, str]()
        for column, own in options.formats.items():
            texts = table.columns[column].as_texts().texts if column in table.columns else ()
            if texts and not any(is_date(text, own) for text in texts):
                formats = formats_of(texts)
                found |= {column: formats[0]} if len(formats) == 1 else {}
        if found:
            said = ", ".join(f"{name} as {said_format(each)}" for name, each in found.items())
            self.notes.append(f"{path.name} has dates in another form than the table of training: {said}")
        return replace(options, formats={**options.formats, **found})

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


def _with_usual(guesses: Tensor, every: Tensor, rows: Rows, weights: Tensor | None) -> Tensor:
    """Guesses (m,) or (m, d) of some rows; the mean of training, or of all without it, stands in for nan.

    With `weights` (n,) of all rows the mean is weighted.
    """
    some = torch.from_numpy(rows["train"]) if "train" in rows else torch.arange(len(every))
    training = every[some]
    usual = training.nanmean(0)
    if weights is not None:
        counts = weights[some].numpy()
        means = [Figures.of(each.numpy(), counts).mean for each in training.view(len(some), -1).T]
        usual = torch.tensor(means, dtype=torch.float64).view(usual.shape)
    return torch.where(guesses.isnan(), usual, guesses).float()


def _learnt(settled: SettledTable, notes: list[str]) -> _Dataset:
    """Fit the encoding of a table, and encode all its splits."""
    found = fitted(settled, notes)
    names = RowNames(settled.table.place)
    dataset = _Dataset(found.options, found.encoding, notes, settled.findings, {}, settled.guessed, names)
    give_back_freed_memory()  # that columns took one by one; the examples take a large piece
    dataset.splits = dataset.examples(found.cells, found.rows)
    return dataset
