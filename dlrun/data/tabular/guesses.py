"""Guesses about a table: the options that its columns suggest, each said in a note."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from glob import escape
from typing import Any

import numpy as np

from dlrun.data.composed import composed
from dlrun.data.table_files.columns import Column
from dlrun.data.table_files.tables import Table
from dlrun.data.tabular.column_kinds import (
    Kind,
    are_codes,
    instead_of_an_id,
    is_few_valued,
    kind_of,
    kinds_of,
    labelled_rows,
    why_useless,
)
from dlrun.data.tabular.encoding import TableOptions
from dlrun.data.tabular.missing_words import said_words
from dlrun.data.tabular.number_readings import PLAIN, NumberReading
from dlrun.errors import UserError, first_few

_SPACES_OF_A_TEXT = 3  # on average
_FEWEST_WITH_POINTS = 10  # numbers
_MOST_NAMED = 8  # columns in a note or a message
_some = partial(first_few, most=_MOST_NAMED)
_MOST_FEW = 50  # columns of few whole numbers that are taken for categories


def matches(name: str, patterns: Iterable[str]) -> bool:
    """True if the name of a column is one of some, or matches one with `*`, `?` or `[…]`."""
    name = composed(name)
    return any(name == each or fnmatchcase(name, each) for each in map(composed, patterns))


def input_columns(table: Table, options: TableOptions) -> list[str]:
    """The columns that may be inputs: those that match `inputs`, or all, without what has another role."""
    wanted, beside = options.inputs or ("*",), options.beside
    return [
        name
        for name in table.columns
        if name not in beside and matches(name, wanted) and not matches(name, options.ignore)
    ]


def without_words(table: Table, words: Sequence[str]) -> Table:
    """The table with some further words for missing cells."""
    if not words:
        return table
    return replace(table, columns={name: column.without(words) for name, column in table.columns.items()})


def codes_among(table: Table, options: TableOptions) -> list[str]:
    """The inputs that were read as numbers but are codes, such as 01067, so that their texts are needed."""
    if options.categorical != "auto":
        return []
    others = {*options.baselines.values(), *(options.dates if options.dates != "auto" else ())}
    columns = {name: table.columns[name] for name in input_columns(table, options) if name not in others}
    return [name for name, column in columns.items() if column.codes is None and are_codes(column)]


def settled(table: Table, options: TableOptions) -> Guesses:
    """The table and the options with every `auto` replaced by what the columns suggest.

    Raises UserError with all columns that no guess makes readable.
    """
    found = Guesses(table, options)
    columns = input_columns(table, options)
    weights = [options.weights] if options.weights else []
    numbers = [*options.baselines.values(), *options.targets * (not options.has_classes), *weights]
    kinds = found.kinds([*columns, *numbers])
    found.choose_marks(kinds)
    found.say_points(kinds)
    found.refuse_mistakes(kinds | found.kind_of_date())
    found.choose_words(kinds)
    found.choose_inputs({name: kinds[name] for name in columns})
    return found


@dataclass
class Guesses:
    """A table with its options as they are known so far; `changed` are the guessed ones, `notes` say them."""

    table: Table
    options: TableOptions
    changed: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    mistakes: list[tuple[str, str]] = field(default_factory=list)  # with the remedy of each

    def change(self, **values: Any) -> None:
        """Replace options by guessed ones."""
        self.changed |= {key: list(each) if isinstance(each, tuple) else each for key, each in values.items()}
        self.options = replace(self.options, **values)

    def kinds(self, columns: Iterable[str]) -> dict[str, Kind]:
        """The kind of each column, as an option names it or as its cells suggest."""
        options = self.options
        decimal = str(self.table.guessed.get("decimal", options.reading.decimal))
        categorical = () if options.categorical == "auto" else options.categorical
        each = {name: self.table.columns[name] for name in columns}
        dates = () if options.dates == "auto" else options.dates
        return kinds_of(each, options.numbers, decimal, categorical, dates, options.date_format)

    def kind_of_date(self) -> dict[str, Kind]:
        """The kind of the single column of the date, {} if its format is stated or it holds no dates."""
        if len(self.options.date) != 1 or self.options.date_format:
            return {}
        kind = kind_of(self.table.columns[self.options.date[0]])
        return {self.options.date[0]: kind} if kind.name == "date" else {}

    def choose_marks(self, kinds: Mapping[str, Kind]) -> None:
        """Choose the marks in numbers that all columns have in common."""
        unusual = {name: kind for name, kind in kinds.items() if kind.reading != PLAIN and not kind.mistake}
        if not unusual:
            return
        readings = [kind.reading for kind in unusual.values()]
        thousands = {each.thousands for each in readings if each.thousands}
        decimals = {each.decimal for each in readings}
        if "," in decimals and self.options.reading.decimal == "auto":
            each = {name: self.table.columns[name] for name in kinds}
            with_point = [
                name for name, column in each.items() if column.has_fractions and not column.is_typed
            ]
            decimals |= {"."} if with_point else set()
        if len(thousands) > 1 or len(decimals) > 1 or thousands & decimals:
            shown = ", ".join(f"{name} ({kind.example!r})" for name, kind in [*unusual.items()][:_MOST_NAMED])
            what = f"numbers are written in several ways: {shown}"
            self.mistakes.append((what, "set decimal and thousands, or write numbers as 1234.5"))
            return
        symbols = tuple(dict.fromkeys(sign for each in readings for sign in each.symbols))
        common = NumberReading(decimals.pop(), thousands.pop() if thousands else "", symbols)
        if common.decimal != self.options.numbers.decimal:
            self.change_reading(decimal=common.decimal)
        if (common.thousands, common.symbols) != (self.options.thousands, tuple(self.options.symbols)):
            self.change(thousands=common.thousands, symbols=common.symbols)
        said = [
            f"{name} ({kind.example!r} is {common.read(kind.example):.10g})" for name, kind in unusual.items()
        ]
        self.notes.append(f"numbers are read from {_some(said)}")

    def change_reading(self, **values: Any) -> None:
        """Replace options of reading by guessed ones."""
        self.changed |= values
        self.options = replace(self.options, reading=replace(self.options.reading, **values))

    def refuse_mistakes(self, kinds: Mapping[str, Kind]) -> None:
        """Raise UserError if there is any mistake, with all of them."""
        for name, kind in kinds.items():
            if kind.mistake:
                place = f" ({self._place_of(name, kind.wrong)})" if kind.wrong else ""
                self.mistakes.append((f"{name} {kind.mistake}{place}", kind.fix))
        for target in self.options.targets:
            if target in kinds and kinds[target].name in ("category", "date"):
                column = self.table.columns[target].as_texts()
                fix = instead_of_an_id(column.texts, int(column.counts.sum()))
                fix = fix or "for names of classes set task: classification"
                self.mistakes.append((f"{target} holds text such as {column.texts[0][:40]!r}", fix))
        if self.mistakes:
            what = _some([what for what, _ in self.mistakes], joint="; ")
            fix = "; ".join(dict.fromkeys(fix for _, fix in self.mistakes if fix))
            raise UserError(what, where=self.table.source, fix=fix)

    def _place_of(self, name: str, text: str) -> str:
        """The first place of a text in a column."""
        column = self.table.columns[name]
        if column.codes is None:
            return self.table.place(next(row for row, odd in column.odd.items() if odd == text))
        return self.table.place(int((column.codes == list(column.texts).index(text)).argmax()))

    def choose_words(self, kinds: Mapping[str, Kind]) -> None:
        """Choose the words that mean a missing value, by those in columns of numbers and dates."""
        words: dict[str, list[str]] = {}
        for name, kind in kinds.items():
            for word in kind.nothing if kind.name in ("number", "date") else ():
                words.setdefault(word, []).append(name)
        if words:
            for word, names in words.items():
                self._refuse_meaning(word, names[0])
                names += [name for name in kinds if name not in names and _holds(self.table, name, word)]
            self.change_reading(na_values=[*self.options.reading.na_values, *words])
            self.table = without_words(self.table, list(words))
            self.notes.append(f"{said_words(words)}{self._frequent(kinds)}")

    def _frequent(self, kinds: Mapping[str, Kind]) -> str:
        """A remark on columns of numbers in which further words for missing values are frequent, if any."""
        frequent = [name for name, kind in kinds.items() if kind.name == "number" and kind.has_frequent_words]
        return f"; if such words tell something, list {_some(frequent)} under categorical" if frequent else ""

    def _refuse_meaning(self, word: str, column: str) -> None:
        """Raise UserError if rows would be left out because a word for a missing number is a class there."""
        options = self.options
        for name in (*[options.target] * options.has_classes, *options.text_roles):
            if _holds(self.table, name, word):
                what = f"{word!r} stands for a missing number in {column}, but means something in {name}"
                fix = f"leave such cells of {column} empty, list it under categorical, or set na_values: "
                fix += f"[{word!r}] to leave out the rows of {name}"
                raise UserError(what, where=self.table.source, fix=fix)

    def choose_inputs(self, inputs: Mapping[str, Kind]) -> None:
        """Choose the columns of categories and of dates, and those from which nothing can be learnt."""
        options, columns = self.options, self.table.columns
        named = {*(options.categorical if options.categorical != "auto" else ())}
        labelled = labelled_rows(columns, options.targets)
        # A run of before has ignored what was useless by the rules of its time, and has learnt the others.
        open_ones = {} if options.keys_by == "cells" else inputs
        useless = {
            name: why
            for name, kind in open_ones.items()
            if name not in named and (why := why_useless(name, columns[name], kind, labelled))
        }
        by_reason: dict[str, list[str]] = {}
        for name, why in useless.items():
            by_reason.setdefault(why, []).append(name or "the column without a name")
        said = "; ".join(f"{_some(names)} ({why})" for why, names in by_reason.items())
        if useless and (len(useless) < len(inputs) or options.lags):
            self.notes.append(f"left out: {said}")
        elif useless:
            fix = "name other inputs, or list a column under categorical to take it all the same"
            fix += self._another_dataset(useless)
            raise UserError(f"there is nothing to learn from: {said}", where=self.table.source, fix=fix)
        kept = {name: kind for name, kind in inputs.items() if name not in useless}
        if options.inputs or useless:
            out = [name for name in columns if name not in kept and name not in options.beside]
            self.change(ignore=tuple(map(escape, out)), inputs=())
        if options.dates == "auto":
            dates = tuple(name for name, kind in kept.items() if kind.name == "date")
            self.change(dates=dates)
            if dates:
                self.notes.append(f"dates are inputs: {_some(dates)}")
        if options.categorical == "auto":
            texts = [name for name, kind in kept.items() if kind.name == "category" or name in options.series]
            few = [
                name for name, kind in kept.items() if kind.name == "number" and is_few_valued(columns[name])
            ]
            few = few if len(few) <= _MOST_FEW else []
            self.change(categorical=tuple(name for name in kept if name in {*texts, *few}))
            codes = [name for name in texts if are_codes(columns[name])]
            texts = [name for name in texts if name not in codes]
            ways = {"text": texts, "few whole numbers": few, "numbers with zeros in front": codes}
            if each := [f"{_some(names)} ({how})" for how, names in ways.items() if names]:
                self.notes.append(f"categories: {', '.join(each)}")

    def _another_dataset(self, useless: Mapping[str, str]) -> str:
        """The remedy for columns that are all useless, if another dataset could learn from them."""
        columns = {name: self.table.columns[name] for name in useless}
        texts = {name: column.texts for name, column in columns.items() if column.texts}
        for name, each in texts.items():
            if sum(text.count(" ") for text in each) >= _SPACES_OF_A_TEXT * len(each):
                return f"; texts are learnt by dataset: {{name: text_table, text: {name}}}"
        if not texts and not self.options.has_classes:
            return "; a series is learnt from its own past by dataset: {name: windows}"
        return ""

    def say_points(self, columns: Iterable[str]) -> None:
        """Note the numbers whose points may stand between thousands, in a file with semicolons."""
        reading = self.options.reading
        separator = self.table.guessed.get("separator", reading.separator)
        if separator != ";" or reading.decimal != "auto":
            return
        examples = {name: _like_thousands(self.table.columns[name]) for name in columns}
        if names := [name for name, example in examples.items() if example]:
            said = f"{_some(names)}: numbers such as {examples[names[0]]} are read with a decimal point"
            self.notes.append(f"{said}; if it stands between thousands, set decimal: ','")


def _like_thousands(column: Column) -> str:
    """A cell of numbers from 1 to 999 with three decimals, as thousands with a point look; "" of others."""
    if column.numbers is None or column.odd or column.is_typed:
        return ""
    rows = np.flatnonzero(~np.isnan(column.numbers))
    values = np.abs(column.numbers[rows])
    if len(values) < _FEWEST_WITH_POINTS or (values < 1).any() or (values >= 1000).any():
        return ""
    thousands = values * 1000
    has_three = np.round(thousands) % 10 > 0
    is_finer = np.abs(thousands - np.round(thousands)) >= 1e-6
    if is_finer.any() or np.mean(has_three) <= 0.5:
        return ""
    return column.cell(int(rows[has_three.argmax()]))


def _holds(table: Table, column: str, word: str) -> bool:
    """True if a cell of a column holds a word."""
    held = table.columns[column]
    return word in (held.odd.values() if held.codes is None else held.present)
