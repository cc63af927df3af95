"""Rows of a file without targets as inputs for prediction, read and encoded piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from dlrun.data.examples import NewInputs
from dlrun.data.table_files.tables import Table
from dlrun.data.tabular.cells import Cells, TroubleSaid
from dlrun.data.tabular.dates import said_dates
from dlrun.data.tabular.encoding import Encoding, TableOptions
from dlrun.data.tabular.far_values import FarRows, FarValues, far_values
from dlrun.data.tabular.guesses import without_words
from dlrun.data.tabular.inputs import Unseen, inputs_of, note_of_unseen
from dlrun.data.tabular.lags import add_lags_of_new
from dlrun.data.tabular.missing_words import Words, read_as_missing, said_words
from dlrun.data.tabular.parsing import parsed, refused_rows, said_filled
from dlrun.data.tabular.refusals import refuse_missing_columns
from dlrun.data.tabular.written_cells import WrittenCells, WrittenRows
from dlrun.errors import UserError

_AT_ONCE = 2**14  # rows that are predicted together
_Each = TypeVar("_Each")

# The columns that keep their texts, beside those that do by the encoding -> the tables of a file.
ReadTables = Callable[[Collection[str]], Iterator[Table]]


def new_rows(
    read: ReadTables, options: TableOptions, encoding: Encoding, notes: list[str]
) -> Iterator[NewInputs]:
    """Yield the rows of a file for prediction, named by their id, date or line, in pieces of equal size.

    The tables that `read` gives are read one after the other, and none is held. What is to be said of all
    rows is added to the `notes` at the end. Raises UserError if input columns are missing, and for a mistake
    in the file behind the rows before it.
    """
    is_dated = options.date_cycles or options.lags
    bare = replace(options, baselines={}, date=options.date if is_dated else ())
    waiting, report, start = _Waiting(), _Report(encoding), 0
    columns: list[str] = []
    written = WrittenRows(lambda: read(columns))
    names_of: Callable[[Table, Cells], list[str]] = _lines

    def pieces(least: int) -> Iterator[NewInputs]:
        nonlocal start
        while len(waiting) >= least:
            names, inputs, refused, far = waiting.take(_AT_ONCE)
            rows = range(start, start + len(names))
            start = rows.stop
            yield NewInputs(names, inputs, refused, WrittenCells(written, columns, rows), far)

    try:
        for table in read(()):
            table = without_words(table, options.reading.na_values)
            if not columns:
                refuse_missing_columns(table, [*bare.date, *options.series, *encoding.of_file(options)])
                columns += table.columns
                names_of = _naming(read, table, options)
            cells = parsed(table, bare, encoding.of_file(options), encoding.categories, labelled=False)
            words = {} if options.reading.is_strict else read_as_missing(cells)
            if options.lags:
                add_lags_of_new(cells, table, options)
            refused = refused_rows(cells, bare, encoding)
            is_kept = np.ones(len(cells), bool)
            is_kept[list(refused)] = False
            own, unseen = cells.take(np.flatnonzero(is_kept)), list[tuple[int, str, str]]()
            inputs = inputs_of(own, bare, encoding, unseen)
            far = {row: each for row, each in far_values(cells, encoding.ranges).items() if is_kept[row]}
            report.add(cells, is_kept, options, unseen, words, far)
            notes += table.passed_over
            waiting.add(names_of(table, cells), inputs, refused, far)
            yield from pieces(_AT_ONCE)
    except UserError:
        yield from pieces(1)  # those before a mistake
        raise
    yield from pieces(1)
    notes += report.notes(options)


def _naming(read: ReadTables, table: Table, options: TableOptions) -> Callable[[Table, Cells], list[str]]:
    """The function that names rows: by their id, or by their dates if these are unique, or by their lines."""
    if options.id and options.id in table.columns:
        return partial(_ids, options.id)
    if not options.date or not set(options.date) <= set(table.columns):
        return _lines

    def every_date() -> Iterator[Tensor | None]:
        for each in read(()):
            yield _dates(without_words(each, options.reading.na_values), options)

    if (are_days := _are_days(every_date)) is None:
        return _lines

    def dates(table: Table, cells: Cells) -> list[str]:
        found = _dates(table, options)
        return _lines(table, cells) if found is None else said_dates(found, are_days=are_days)

    return dates


def _ids(column: str, _: Table, cells: Cells) -> list[str]:
    return cells.texts[column].cells()


def _lines(_: Table, cells: Cells) -> list[str]:
    return [f"row {line}" for line in cells.lines]


def _dates(table: Table, options: TableOptions) -> Tensor | None:
    """The date (n,) of each row; None if one is missing or unreadable."""
    dated = Cells.of(table)
    dated.read_dates(table, options.date, options.format_of(options.date[0]))
    return None if dated.trouble else dated.date


def _are_days(every: Callable[[], Iterator[Tensor | None]]) -> bool | None:
    """True if all dates are at midnight; None if they are not there, or do not tell the rows apart.

    Dates in order are compared as they are read; otherwise all are held, 8 bytes each.
    """
    last: Tensor | None = None
    are_days = are_in_order = True
    for dates in every():
        if dates is None or len(dates.unique()) < len(dates):
            return None
        run = dates if last is None else torch.cat([last, dates])
        are_in_order &= bool((run.diff() > 0).all())
        are_days &= not bool((dates % 86400).any())
        last = dates[-1:]
    if not are_in_order:
        found = torch.cat([dates for dates in every() if dates is not None])
        if len(found.unique()) < len(found):
            return None
    return are_days


@dataclass
class _Waiting:
    """Rows that are read and not yet given: names of all, reasons of refused ones, inputs of the others."""

    names: list[str] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    far: FarValues = field(default_factory=dict)
    inputs: Tensor | None = None

    def __len__(self) -> int:
        return len(self.names)

    def add(self, names: list[str], inputs: Tensor, refused: dict[int, str], far: FarValues) -> None:
        self.refused |= {len(self.names) + row: why for row, why in refused.items()}
        self.far |= {len(self.names) + row: each for row, each in far.items()}
        self.names = self.names + names
        self.inputs = inputs if self.inputs is None else torch.cat([self.inputs, inputs])

    def take(self, most: int) -> tuple[list[str], Tensor, dict[int, str], FarValues]:
        """Take out the first rows."""
        assert self.inputs is not None, "there are rows"
        names, self.names = self.names[:most], self.names[most:]
        refused, self.refused = _cut(self.refused, most)
        far, self.far = _cut(self.far, most)
        kept = len(names) - len(refused)
        inputs, self.inputs = self.inputs[:kept], self.inputs[kept:]
        return names, inputs, refused, far


def _cut(by_row: dict[int, _Each], row: int) -> tuple[dict[int, _Each], dict[int, _Each]]:
    """The entries before a row, and those from it on, counted from there."""
    before = {place: each for place, each in by_row.items() if place < row}
    return before, {place - row: each for place, each in by_row.items() if place >= row}


@dataclass
class _Report:
    """Notes on all rows together: on filled cells, texts that training lacks, numbers far from it."""

    encoding: Encoding
    words: Words = field(default_factory=dict)
    far: FarRows = field(default_factory=FarRows)
    filled: TroubleSaid = field(default_factory=TroubleSaid)
    rows: int = 0
    unseen: int = 0  # cells
    with_unseen: int = 0  # rows
    first: tuple[int, int, str] | None = None  # place of the column, line and text of an unseen cell

    def add(
        self,
        cells: Cells,
        is_kept: np.ndarray,
        options: TableOptions,
        unseen: Unseen,
        words: Words,
        far: FarValues,
    ) -> None:
        for word, columns in words.items():
            self.words[word] = list(dict.fromkeys([*self.words.get(word, ()), *columns]))
        self.far.add(far, cells.lines)
        names = [name for name in cells.trouble if options.treatment(name) in ("fill", "auto")]
        self.filled.add(cells.trouble.of(names).among(is_kept), cells.lines)
        self.rows += int(is_kept.sum())
        self.unseen += len(unseen)
        self.with_unseen += len({line for line, _, _ in unseen})
        places = [(self.encoding.columns.index(column), line, text) for line, column, text in unseen]
        self.first = min([*places, *([self.first] if self.first else [])], default=None)

    def notes(self, options: TableOptions) -> Iterator[str]:
        if self.words:
            yield said_words(self.words)
        if self.filled.columns:
            yield said_filled(self.filled, options)
        if self.first:
            place, line, text = self.first
            first = (line, self.encoding.columns[place], text)
            yield note_of_unseen(first, self.unseen, is_every_row=self.with_unseen == self.rows > 1)
        if self.far.count:
            yield str(self.far)
