"""The columns of a table as its file has them, and the share of the target that each tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dlrun.config.keys import Choice
from dlrun.config.registry import Parts
from dlrun.data.examples import Data, Split
from dlrun.data.one_column import share_told
from dlrun.data.table_files.columns import Column, said_number
from dlrun.data.table_files.tables import Reading, Table
from dlrun.data.tabular.column_kinds import Kind, are_codes, kinds_of, labelled_rows, why_useless
from dlrun.data.tabular.dates import said_dates, seconds_of
from dlrun.data.tabular.number_readings import NumberReading
from dlrun.data.tabular.settled_tables import named_targets
from dlrun.data.tabular.table import file_table
from dlrun.errors import UserError

TABLES = ("csv",)  # datasets whose path is a table
_MOST_ROWS = 20_000  # by which the relation to the target is judged
_FEWEST_ROWS = 30
WEIGHTS = "the weights"  # the remark on their column
_MISSING = -1e300
_READING = ("separator", "decimal", "encoding", "header", "columns", "na_values")


@dataclass(frozen=True)
class ColumnFacts:
    """A column, or several neighbours that are alike, of which `count` is the number.

    `low` and `high` are the smallest and largest number or date. `usual` is the most frequent value, of the
    `share` of the cells that are not missing. `tells` is the share of the target that the column alone tells
    (see `share_told`), None of the target itself and where there are too few rows. `remark` says what is
    wrong, such as a text that is different in every row.
    """

    name: str
    kind: str
    missing: int
    different: int
    low: str = ""
    high: str = ""
    usual: str = ""
    share: float = 0.0
    tells: float | None = None
    remark: str = ""
    is_target: bool = False
    count: int = 1

    def plain(self) -> dict[str, Any]:
        """The facts as values that JSON can hold."""
        return asdict(self)


@dataclass(frozen=True)
class TableFacts:
    """The columns of a table, and what was found by looking at its file."""

    rows: int
    columns: list[ColumnFacts]
    guessed: Mapping[str, Any]

    def plain(self) -> dict[str, Any]:
        """The facts as values that JSON can hold."""
        return {"rows": self.rows, "columns": [each.plain() for each in self.columns]}

    @property
    def options(self) -> dict[str, Any]:
        """The options of the dataset that the columns suggest, whether or not it can be trained on."""
        inputs = [each for each in self.columns if not each.is_target and each.remark != WEIGHTS]
        found = {
            "ignore": [each.name for each in inputs if each.remark],
            "categorical": [each.name for each in inputs if each.kind == "category" and not each.remark],
            "dates": [each.name for each in inputs if each.kind == "date" and not each.remark],
        }
        return {**self.guessed, **{name: each for name, each in found.items() if each}}


def table_facts(dataset: Choice, data_dir: Path) -> TableFacts | None:
    """The columns of the table that a dataset reads; None of a dataset that reads none.

    Raises UserError if the file is missing, or no table can be read from it.
    """
    options = dataset.options
    if dataset.name not in TABLES:
        return None
    table, kinds = read_columns(dataset, data_dir)
    targets = _targets(options, table)
    facts = list(_facts(table, targets, kinds, are_classes=options["task"] == "classification"))
    weights = options.get("weights")
    facts = [replace(each, tells=None, remark=WEIGHTS) if each.name == weights else each for each in facts]
    return TableFacts(len(table), facts, table.guessed)


def read_columns(dataset: Choice, data_dir: Path) -> tuple[Table, dict[str, Kind]]:
    """The table that a dataset of TABLES reads, and the kind of each of its columns.

    Raises UserError if the file is missing, or no table can be read from it.
    """
    options = dataset.options
    sheet = options.get("sheet")
    reading = Reading(
        **{name: options[name] for name in _READING if name in options},
        sheet=None if sheet is None else str(sheet),
        is_strict=options.get("read") == "strict",
    )
    table = file_table(str(options["path"]), data_dir, (), reading)
    decimal = str(table.guessed.get("decimal", reading.decimal))
    marks = (str(options.get("thousands", "")), tuple(options.get("symbols", ())))
    numbers = NumberReading("," if decimal == "," else ".", *marks)
    dates = options.get("dates", ())
    date_format = str(options.get("date_format", ""))
    stated = () if dates == "auto" else dates
    kinds = kinds_of(table.columns, numbers, decimal, dates=stated, date_format=date_format)
    if codes := _codes(table, _targets(options, table), options):
        table = file_table(str(options["path"]), data_dir, codes, reading)
        kinds |= dict.fromkeys(codes, Kind("category"))
    return table, kinds


def _targets(options: Mapping[str, Any], table: Table) -> Sequence[str]:
    """The names of the targets that options state."""
    stated = options["target"]
    targets: Sequence[str] = [str(stated)] if isinstance(stated, str | int) else stated
    with suppress(UserError):  # a place beyond the columns names none
        targets = named_targets(targets, table)
    return targets


def _codes(table: Table, targets: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """The columns that `csv` takes for codes, such as 01067, whose texts are needed."""
    if options.get("categorical") != "auto" or options.get("read") == "strict":
        return []
    columns = {name: column for name, column in table.columns.items() if name not in targets}
    return [name for name, column in columns.items() if column.codes is None and are_codes(column)]


def lag_facts(data: Data, splits: Mapping[str, Split]) -> list[ColumnFacts]:
    """The facts about each input that is an earlier value of the target, over the rows of all splits."""
    found, rows = [], np.empty((0, len(data.features)))
    if data.lags:
        rows = torch.cat([split.raw().double() for split in splits.values()]).numpy()
    for name in data.lags:
        column = Column(rows[:, data.features.index(name)])
        facts = replace(_of(name, column, Kind("number")), remark="")
        known = torch.cat([split.targets.cpu().double() for split in splits.values()]).numpy()
        if len(known) >= _FEWEST_ROWS:
            deviations = known.std(0)
            wanted = known / np.where(deviations, deviations, 1.0)
            values = _values(column, Kind("number"))
            facts = replace(facts, tells=share_told(values, wanted, are_classes=False))
        found.append(facts)
    return found


def given_options(dataset: Choice, parts: Parts) -> dict[str, Any]:
    """The options of a dataset that are not its defaults."""
    defaults = parts.part("dataset", dataset.name).defaults
    return {name: value for name, value in dataset.options.items() if value != defaults.get(name, ...)}


def _facts(
    table: Table, targets: Sequence[str], kinds: Mapping[str, Kind], *, are_classes: bool
) -> Iterator[ColumnFacts]:
    rows = np.linspace(0, len(table) - 1, min(len(table), _MOST_ROWS)).astype(int)
    wanted = None
    if there := [name for name in targets if name in table.columns]:
        each = [(table.columns[name], Kind("category") if are_classes else kinds[name]) for name in there]
        known = np.stack([_values(*of_target)[rows] for of_target in each], 1)
        is_known = (known != _MISSING).all(1)
        rows, known = rows[is_known], known[is_known]
        wanted = (known == np.unique(known)).astype(float) if are_classes else known
        if len(there) > 1 and len(known):
            wanted = wanted / np.where(deviations := wanted.std(0), deviations, 1.0)  # of any unit
    labelled = labelled_rows(table.columns, targets)
    for name, column in table.columns.items():
        kind = kinds[name]
        facts = _of(name, column, kind, labelled)
        if name in targets:
            yield replace(facts, is_target=True, remark="the target")
        elif wanted is None or len(wanted) < _FEWEST_ROWS or facts.kind == "empty":
            yield facts
        else:
            values, are_categories = _values(column, kind)[rows], kind.name == "category"
            tells = share_told(values, wanted, are_classes=are_classes, are_categories=are_categories)
            yield replace(facts, tells=tells)


def _of(name: str, column: Column, kind: Kind, labelled: np.ndarray | None = None) -> ColumnFacts:
    """The facts about one column, without its relation to the target."""
    remark = kind.mistake or why_useless(name, column, kind, labelled)
    values = _values(column, kind)
    there = values[values != _MISSING]
    missing = len(values) - len(there)
    if not len(there):
        return ColumnFacts(name, "empty", missing, 0, remark=remark)
    known, counts = np.unique(there, return_counts=True)
    most = int(counts.argmax())
    low, usual, high = (_said(value, column, kind) for value in (known[0], known[most], known[-1]))
    return ColumnFacts(
        name,
        kind.name,
        missing,
        len(known),
        "" if kind.name == "category" else low,
        "" if kind.name == "category" else high,
        usual if counts[most] > 1 else "",
        float(counts[most] / len(there)) if counts[most] > 1 else 0.0,
        remark=remark,
    )


def _values(column: Column, kind: Kind) -> np.ndarray:
    """The cells of a column as numbers (n,): numbers, seconds, or places of texts; missing ones _MISSING."""
    column = column.without(kind.nothing)
    if kind.name == "number":
        numbers = column.as_numbers(kind.reading.read).numbers
    elif kind.name == "date" and not kind.mistake:
        numbers = column.as_texts().as_numbers(lambda text: seconds_of([text], kind.date_format)).numbers
    else:
        column = column.as_texts()
        assert column.codes is not None, "texts have codes"
        return np.take(np.array([*range(len(column.texts)), _MISSING], np.float64), column.codes)
    assert numbers is not None, "they were read as numbers"
    return np.where(np.isnan(numbers), _MISSING, numbers)


def _said(value: float, column: Column, kind: Kind) -> str:
    """A value of `_values` as a text."""
    if kind.name == "number":
        return said_number(float(f"{value:.6g}"))
    if kind.name == "date" and not kind.mistake:
        return said_dates(torch.tensor([int(value)]))[0]
    return str(column.without(kind.nothing).as_texts().texts[int(value)])


def grouped(columns: Sequence[ColumnFacts], fewest: int = 8) -> Iterator[ColumnFacts]:
    """The columns; at least `fewest` neighbours that are numbered numbers are one, `pixel1 … pixel784`."""
    start = 0
    while start < len(columns):
        stop, first = start + 1, columns[start]
        while stop < len(columns) and _are_alike(first, columns[stop]):
            stop += 1
        own = columns[start:stop]
        if len(own) >= fewest:
            most = max(own, key=lambda each: each.tells or 0.0)
            yield replace(
                first,
                name=f"{first.name} … {own[-1].name}",
                missing=sum(each.missing for each in own),
                different=max(each.different for each in own),
                low=min((each.low for each in own), key=_as_number),
                high=max((each.high for each in own), key=_as_number),
                usual="",
                share=0.0,
                tells=most.tells,
                remark=f"most by {most.name}" if most.tells else "",
                count=len(own),
            )
        else:
            yield from own
        start = stop


def _are_alike(one: ColumnFacts, other: ColumnFacts) -> bool:
    stems = {each.name.rstrip("0123456789") for each in (one, other)}
    are_numbered = all(each.name[-1:].isdigit() for each in (one, other))
    return (
        are_numbered
        and len(stems) == 1
        and one.kind == other.kind == "number"
        and not (one.remark or other.remark)
    )


def _as_number(text: str) -> float:
    return float(text) if text else 0.0
