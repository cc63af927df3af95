"""TableOptions: the options of a table dataset. Encoding: how its rows become inputs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from dlrun.data.composed import composed
from dlrun.data.examples import Scaling
from dlrun.data.folds import Fold, splits_of
from dlrun.data.intervals import Interval
from dlrun.data.log_targets import Transform
from dlrun.data.placement import Placement
from dlrun.data.table_files.columns import plain_number, said_number
from dlrun.data.table_files.tables import STRICT, Reading
from dlrun.data.tabular.dates import EARLIEST, LATEST
from dlrun.data.tabular.number_readings import NumberReading
from dlrun.data.tabular.row_keys import KeyRule, key_rule
from dlrun.data.text.texts import distinct_texts
from dlrun.errors import UserError

Cycle = Literal["year", "week", "day"]
_TARGET_HAS_CLASSES = {"classification": True, "regression": False}
_TRUTHS = frozenset(("true", "false", "yes", "no", "t", "f", "y", "n", "on", "off"))


@dataclass(frozen=True)
class TableOptions:
    """The options of a table dataset (documented in `dlrun.dataset.csv.csv`)."""

    target: str
    task: Literal["classification", "regression"] = "regression"
    other_targets: Sequence[str] = ()  # in a regression of several columns
    unit: str = ""
    reading: Reading = STRICT
    thousands: str = ""
    symbols: Sequence[str] = ()
    inputs: Sequence[str] = ()
    ignore: Sequence[str] = ()
    categorical: Sequence[str] | Literal["auto"] = ()
    max_categories: int | None = None
    unknown: Literal["refuse", "zeros"] = "refuse"
    dates: Sequence[str] | Literal["auto"] = ()
    date: Sequence[str] = ()
    date_format: str = ""
    date_cycles: Sequence[Cycle] = ()
    baselines: Mapping[str, str] = field(default_factory=dict)
    missing: str | Mapping[str, str | float] = "refuse"
    standardise: bool = True
    scale: Literal["standard", "robust", "quantile"] = "standard"
    scale_target: bool | Literal["auto"] = False
    target_transform: Transform | None = None
    split: Literal["chronological", "random", "group"] | None = None
    split_rule: Literal["hash", "drawn"] = "drawn"
    split_column: str | None = None
    group: str | None = None
    stratify: str | None = None
    id: str | None = None
    weights: str | None = None
    test_fraction: float = 0.2
    valid_fraction: float = 0.0
    seed: int = 0
    fold: Fold | None = None  # that takes the place of the validation split
    lags: Sequence[int] = ()
    series: Sequence[str] = ()
    formats: Mapping[str, str] = field(default_factory=dict)  # of columns of dates, once they are known
    keys_by: KeyRule = "cells"
    step: Interval | None = None  # of the lags, once it is known

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns that are predicted."""
        return (self.target, *self.other_targets)

    @property
    def has_classes(self) -> bool:
        """True if the cells of the target name classes, False if they are numbers."""
        return _TARGET_HAS_CLASSES[self.task]

    @property
    def numbers(self) -> NumberReading:
        """The marks in all numbers."""
        decimal = "," if self.reading.decimal == "," else "."
        return NumberReading(decimal, self.thousands, tuple(self.symbols))

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns whose cells are texts, as far as they are known before the table is read."""
        named = () if self.categorical == "auto" else self.categorical
        return (*named, *self.text_roles, *[self.target] * self.has_classes)

    @property
    def text_roles(self) -> list[str]:
        """The columns of texts that say something of a row beside its inputs, such as its group."""
        roles = (self.split_column, self.group, self.id, self.stratify, *self.series)
        return list(dict.fromkeys(name for name in roles if name))

    @property
    def named_inputs(self) -> list[str]:
        """The columns that `ignore` and `inputs` name, without patterns."""
        return [name for name in (*self.ignore, *self.inputs) if not set("*?[") & set(name)]

    @property
    def lagged(self) -> tuple[str, ...]:
        """The inputs that are earlier values of the targets."""
        return tuple(lag_name(target, lag) for lag in self.lags for target in self.targets)

    @property
    def is_chronological(self) -> bool:
        """True if the test split has the last rows, False if splits are random."""
        return (self.split or ("chronological" if self.date else "random")) == "chronological"

    @property
    def beside(self) -> set[str]:
        """The columns that are no inputs because they mean something else."""
        single_date = self.date if len(self.date) == 1 else ()
        roles = [name for name in (self.split_column, self.group, self.id, self.weights) if name]
        return {*self.targets, *roles, *single_date}

    def format_of(self, column: str) -> str:
        """The format of the dates in a column, "" for ISO 8601."""
        return self.formats.get(column, self.date_format)

    def treatment(self, column: str) -> str | float:
        """The treatment of missing cells of a column: auto, refuse, drop, fill or a number to fill in."""
        if isinstance(self.missing, str):
            return self.missing
        return self.missing.get(column, self.missing.get("*", "auto"))

    @property
    def splits(self) -> tuple[str, ...]:
        return splits_of(self.valid_fraction, self.test_fraction, self.fold)


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """The encoding of rows as inputs, fitted on the training rows; the preprocessing comes after it.

    `others` are columns of categories in which the rare ones are one, `indicators` those with an input that
    is 1 where their cell is missing, `dates` have the cycles that become inputs. `placement` is what places
    rows in splits.
    """

    columns: tuple[str, ...]  # numbers, categories and dates, in the order of the file
    categories: Mapping[str, tuple[str, ...]]
    classes: tuple[str, ...]
    scaling: Scaling | None  # mean and standard deviation of the target, or of each; None if it is constant
    fills: bool  # True if the preprocessing holds replacements for missing numbers
    others: tuple[str, ...] = ()
    indicators: tuple[str, ...] = ()
    dates: Mapping[str, tuple[Cycle, ...]] = field(default_factory=dict)
    formats: Mapping[str, str] = field(default_factory=dict)  # of those dates
    placement: Placement | None = None
    is_wide: bool = True  # True if raw inputs are float64
    target_transform: Transform | None = None  # `scaling` is that of the targets after it
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # of training
    keys_by: KeyRule = "cells"
    lags: tuple[int, ...] = ()
    series: tuple[str, ...] = ()
    step: Interval | None = None  # of the lags

    @classmethod
    def remembered(cls, known: Mapping[str, Any]) -> Encoding:
        """The encoding stored in a checkpoint. Raises ValueError, TypeError or KeyError if malformed."""
        columns, categories = distinct_texts(known["columns"]), known["categories"]
        if not isinstance(categories, dict) or not categories.keys() <= set(columns):
            raise ValueError("the stored columns and categories contradict each other")
        scaling = remembered_scalings(known["scaling"])
        values = {column: distinct_texts(categories[column]) for column in columns if column in categories}
        others, indicators = (distinct_texts(known.get(key, [])) for key in ("others", "indicators"))
        dates, formats, placed = (known.get(key, {}) for key in ("dates", "formats", "placement"))
        if not isinstance(dates, dict) or not isinstance(formats, dict):
            raise TypeError("the stored dates are malformed")
        cycles = {column: tuple(each) for column, each in dates.items()}
        if not {*others, *indicators, *cycles} <= {*columns} or not {*others} <= categories.keys():
            raise ValueError("the stored columns and what is said of them contradict each other")
        if any(cycle not in get_args(Cycle) for each in cycles.values() for cycle in each):
            raise ValueError("a stored cycle is none")
        if not all(isinstance(each, str) for each in (*formats, *formats.values())):
            raise TypeError("a stored format of dates is no text")
        classes = distinct_texts(known["classes"])
        placement = Placement.remembered(placed) if placed else None
        lags, series = tuple(known.get("lags", ())), distinct_texts(known.get("series", []))
        step = Interval.remembered(known.get("step"))
        if not all(type(lag) is int and lag > 0 for lag in lags) or bool(lags) != bool(step):
            raise ValueError("the stored lags are malformed")
        return cls(
            columns=columns,
            categories=values,
            classes=classes,
            scaling=scaling,
            fills=known["fills"] is True,
            others=others,
            indicators=indicators,
            dates=cycles,
            formats=dict(formats),
            placement=placement,
            is_wide=known.get("is_wide") is not False,
            target_transform=_remembered_transform(known.get("target_transform")),
            ranges=_remembered_ranges(known.get("ranges", {}), {*columns} - {*categories}, cycles),
            keys_by=key_rule(known.get("keys_by")),
            lags=lags,
            series=series,
            step=step,
        )

    def known(self) -> dict[str, Any]:
        """The encoding as plain values, for a checkpoint."""
        return {
            "columns": list(self.columns),
            "categories": {column: list(values) for column, values in self.categories.items()},
            "classes": list(self.classes),
            "scaling": [list(e) if isinstance(e, tuple) else e for e in self.scaling]
            if self.scaling
            else None,
            "fills": self.fills,
            "others": list(self.others),
            "indicators": list(self.indicators),
            "dates": {column: list(cycles) for column, cycles in self.dates.items()},
            "formats": dict(self.formats),
            "placement": self.placement.known() if self.placement else {},
            "is_wide": self.is_wide,
            "target_transform": self.target_transform,
            "ranges": {column: list(ends) for column, ends in self.ranges.items()},
            "keys_by": self.keys_by,
            "lags": list(self.lags),
            "series": list(self.series),
            "step": self.step and self.step.known(),
        }

    def of_file(self, options: TableOptions) -> tuple[str, ...]:
        """The columns that a file holds: all but the lags."""
        return tuple(column for column in self.columns if column not in options.lagged)

    def features(self, options: TableOptions) -> tuple[str, ...]:
        """The name of each input: `temp_1`, `week=Fri`, `sin(year)`, `age is missing`."""
        names = [name for name, _ in self._named(options)]
        if len(set(names)) < len(names):
            twice = next(name for name, count in Counter(names).items() if count > 1)
            fix = "rename that column, or list it under ignore"
            raise UserError(f"two inputs are called {twice[:40]!r}", fix=fix)
        return tuple(names)

    def columns_of_features(self, options: TableOptions) -> tuple[str, ...]:
        """The column that each input is made from: `week` of `week=Fri`, of waves that of the date."""
        return tuple(column for _, column in self._named(options))

    def _named(self, options: TableOptions) -> Iterator[tuple[str, str]]:
        """Yield the name of each input and its column."""
        for column in self.columns:
            values = self.categories.get(column)
            names = [column] if values is None else [f"{column}={value}" for value in values]
            names += [f"{column}: other"] * (column in self.others)
            names += [
                f"{wave}({cycle} of {column})" for cycle in self.dates.get(column, ()) for wave in _WAVES
            ]
            yield from ((name, column) for name in names)
        for cycle in options.date_cycles:
            yield from ((f"{wave}({cycle})", ", ".join(options.date)) for wave in _WAVES)
        yield from ((f"{column} is missing", column) for column in self.indicators)

    def are_numbers(self, options: TableOptions) -> Tensor:
        """A mask (features,): True for inputs that are numbers or dates of the table, not 0 or 1 or waves."""
        found: list[bool] = []
        for column in self.columns:
            values = self.categories.get(column)
            found += [True] if values is None else [False] * (len(values) + (column in self.others))
            found += [False, False] * len(self.dates.get(column, ()))
        return torch.tensor(
            found + [False, False] * len(options.date_cycles) + [False] * len(self.indicators)
        )


_WAVES = ("sin", "cos")
LAST, SEASON = "last value", "season before"  # the baselines of a series


def lag_name(target: str, lag: int) -> str:
    return f"{target} lag {lag}"


def places_of(values: Sequence[str]) -> Callable[[str], int]:
    """The function that gives the place of a cell's text among some values, -1 if it is not among them."""
    exact, same = {value: place for place, value in enumerate(values)}, sameness(values)
    alike = {same(value): place for value, place in reversed(exact.items())}
    return lambda text: exact.get(text, alike.get(same(text), -1))


def different(texts: Sequence[str], rule: KeyRule = "values") -> tuple[str, ...]:
    """The different values among some texts; one that is written in several ways has its first spelling.

    By the rule of earlier runs the forms of Unicode differ, too.
    """
    same = sameness(texts, rule)
    return tuple({same(text): text for text in reversed(texts)}.values())[::-1]


def sameness(values: Sequence[str], rule: KeyRule = "values") -> Callable[[str], str]:
    """The function that gives what a text has in common with others of the same meaning, however spelled.

    Numbers that are equal are one value, such as 1 and 1.0, and so are texts in any form of Unicode (by the
    rule of earlier runs in one alone), and the spellings of true and false where all values are such.
    """
    are_truths = all(value.lower() in _TRUTHS for value in values)

    def same(text: str) -> str:
        if are_truths:
            return text.lower()
        try:
            value = plain_number(text)
        except ValueError:
            return composed(text) if rule == "values" else text
        # float64 would make one of the numbers of accounts that differ in the last of 17 digits.
        return said_number(value) if abs(value) < 2**53 else str(int(Decimal(text)))

    return same


def _remembered_transform(value: Any) -> Transform | None:
    if value is None:
        return None
    if value == "log":
        return "log"
    raise ValueError("the stored transform of the target is none")


def _remembered_ranges(
    value: Any, columns: set[str], dates: Collection[str]
) -> dict[str, tuple[float, float]]:
    if not isinstance(value, dict) or not value.keys() <= columns:
        raise ValueError("the stored ranges are not those of columns of numbers or dates")
    ranges = {column: (float(low), float(high)) for column, (low, high) in value.items()}
    if not all(-math.inf < low < high < math.inf for low, high in ranges.values()):
        raise ValueError("a stored range is none")
    if not all(EARLIEST <= end <= LATEST for name in ranges.keys() & {*dates} for end in ranges[name]):
        raise ValueError("a stored range is none of dates")
    return ranges


def remembered_scalings(value: Any) -> Scaling | None:
    """The scaling in a checkpoint, of one target or of each of several. Raises as `remembered_scaling`."""
    if not isinstance(value, list | tuple) or not any(isinstance(each, list | tuple) for each in value):
        return remembered_scaling(value)
    means, deviations = value
    pairs = [remembered_scaling(pair) for pair in zip(means, deviations, strict=True)]
    found = [pair for pair in pairs if pair is not None]
    if not found:
        raise ValueError("the stored means and standard deviations are invalid")
    return tuple(mean for mean, _ in found), tuple(deviation for _, deviation in found)


def remembered_scaling(value: Any) -> tuple[float, float] | None:
    """The mean and standard deviation in a checkpoint. Raises ValueError or TypeError if malformed."""
    if value is None:
        return None
    mean, deviation = map(float, value)
    if not (math.isfinite(mean) and 0 < deviation < math.inf):
        raise ValueError("the stored mean and standard deviation are invalid")
    return mean, deviation
