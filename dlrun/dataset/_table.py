"""Rows of a table as examples: numbers, categories and dates, and what is missing among them."""

from __future__ import annotations

import math
from array import array
from calendar import isleap
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from heapq import nsmallest
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dlrun.data import Data, Examples, Preprocessing, Task, carve
from dlrun.errors import UserError, listed, meant
from dlrun.tables import MISSING, Table, number, read_table

Cycle = Literal["year", "week", "day"]
_SHOWN = 3  # the places of a mistake that are named
_MOST_CLASSES = 1000
_MOST_FIGURES = 2**29  # of all inputs: 4 GiB
_START = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Options:
    """What a config says of a table (see `dlrun.dataset.csv.csv`)."""

    target: str
    task: Task = "regression"
    unit: str = ""
    categorical: Sequence[str] = ()
    unknown: Literal["refuse", "zeros"] = "refuse"
    date: Sequence[str] = ()
    date_cycles: Sequence[Cycle] = ()
    ignore: Sequence[str] = ()
    baselines: Mapping[str, str] = field(default_factory=dict)
    missing: Literal["refuse", "drop", "fill"] = "refuse"
    standardise: bool = True
    scale_target: bool = False
    split: Literal["chronological", "random"] | None = None
    test_fraction: float = 0.2
    valid_fraction: float = 0.0
    seed: int = 0

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train", *["valid"] * bool(self.valid_fraction), *["test"] * bool(self.test_fraction))


def file_table(path: str, root: Path) -> Table:
    """The table at a path that is absolute, or relative to the working directory or else to `root`."""
    given = Path(path)
    return read_table(given if given.exists() or not (root / given).exists() else root / given)


def table_data(read: Callable[[], Table], options: Options, known: Mapping[str, Any] | None) -> Data:
    """A table as a dataset. Without `known` it is read at once, for its columns say what the inputs are.

    Raises UserError for options that do not fit each other or the table, ValueError, TypeError or
    KeyError for a `known` that is not of their making.
    """
    _refuse_contradictions(options)
    notes: list[str] = []
    if known is None:
        encoding, splits = _learn(read(), options, notes)
        reading: Callable[[], Mapping[str, Examples]] = lambda: splits  # noqa: E731, the other is a partial
    else:
        encoding = Encoding.remembered(known)
        _refuse_other_inputs(encoding, options)
        reading = partial(_read_again, read, options, encoding, notes)
    features = encoding.features(options)
    return Data(
        task=options.task,
        input_shape=(len(features),),
        read=reading,
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


@dataclass(frozen=True)
class Encoding:
    """How rows become inputs: what was learnt from the training rows, beside the preprocessing."""

    columns: tuple[str, ...]  # numbers and categories, in the order of the file
    categories: Mapping[str, tuple[str, ...]]
    classes: tuple[str, ...]
    scaling: tuple[float, float] | None  # mean and deviation of the target
    fills: bool  # whether the preprocessing holds means for what is missing

    @classmethod
    def remembered(cls, known: Mapping[str, Any]) -> Encoding:
        """The encoding in plain values from anyone. Raises ValueError, TypeError or KeyError."""
        columns, categories = _texts(known["columns"]), known["categories"]
        if not isinstance(categories, dict) or not categories.keys() <= set(columns):
            raise ValueError("the columns it knows do not fit together")
        scaling = known["scaling"]
        if scaling is not None:
            mean, deviation = (float(value) for value in scaling)
            if not (math.isfinite(mean) and 0 < deviation < math.inf):
                raise ValueError("the target is scaled by what is no deviation")
            scaling = (mean, deviation)
        return cls(
            columns,
            {column: _texts(values) for column, values in categories.items()},
            _texts(known["classes"]),
            scaling,
            known["fills"] is True,
        )

    def known(self) -> dict[str, Any]:
        """The encoding as plain values."""
        return {
            "columns": list(self.columns),
            "categories": {column: list(values) for column, values in self.categories.items()},
            "classes": list(self.classes),
            "scaling": list(self.scaling) if self.scaling else None,
            "fills": self.fills,
        }

    def features(self, options: Options) -> tuple[str, ...]:
        """The name of each input: `temp_1`, `week=Fri`, `sin(year)`."""
        names: list[str] = []
        for column in self.columns:
            values = self.categories.get(column)
            names += [column] if values is None else [f"{column}={value}" for value in values]
        names += [f"{wave}({cycle})" for cycle in options.date_cycles for wave in ("sin", "cos")]
        if len(set(names)) < len(names):
            twice = next(name for name, count in Counter(names).items() if count > 1)
            raise UserError(f"two inputs are both called {twice[:40]!r}")
        return tuple(names)

    def are_numbers(self, options: Options) -> Tensor:
        """Which of the inputs are numbers of the file, (features,) bool."""
        found: list[bool] = []
        for column in self.columns:
            found += [False] * len(self.categories[column]) if column in self.categories else [True]
        return torch.tensor(found + [False, False] * len(options.date_cycles))


@dataclass
class Cells:
    """The cells of some columns and rows, parsed; `trouble` are those that hold nothing or nonsense.

    `lines` says where the rows come from; numbers (n,) are nan and texts "" where there is none;
    `date` (n,) is in seconds since 1970.
    """

    lines: list[int]
    numbers: dict[str, Tensor] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    date: Tensor | None = None
    trouble: dict[tuple[int, str], str] = field(default_factory=dict)  # (row, column) -> what it holds

    def read_numbers(self, table: Table, column: str) -> None:
        values = array("d")
        for row, text in enumerate(table.column(column)):
            try:
                value = number(text)
            except ValueError:
                value = None
            if value is None:
                self.trouble[row, column] = text
            values.append(math.nan if value is None else value)
        self.numbers[column] = torch.frombuffer(values, dtype=torch.float64).clone()

    def read_texts(self, table: Table, column: str) -> None:
        self.texts[column] = ["" if text in MISSING else text for text in table.column(column)]
        self.trouble |= {(row, column): "" for row, text in enumerate(self.texts[column]) if not text}

    def read_dates(self, table: Table, columns: Sequence[str]) -> None:
        """From one column of ISO 8601, or from year, month and day."""
        seconds = array("q")
        for row, texts in enumerate(zip(*map(table.column, columns), strict=True)):
            try:
                seconds.append((_moment(texts) - _START) // timedelta(seconds=1))
            except ValueError:
                seconds.append(0)
                whole = len(texts) > 1 and all(map(_is_whole, texts))  # but no day of any year
                place = next((i for i, text in enumerate(texts) if not _is_whole(text)), 0)
                column, text = (columns[-1], "-".join(texts)) if whole else (columns[place], texts[place])
                self.trouble[row, column] = text
        self.date = torch.frombuffer(seconds, dtype=torch.int64).clone()

    def take(self, rows: Sequence[int]) -> Cells:
        """Some of the rows, in the order given; their trouble is behind them."""
        indices = torch.tensor(rows, dtype=torch.long)
        return Cells(
            [self.lines[row] for row in rows],
            {column: values[indices] for column, values in self.numbers.items()},
            {column: [values[row] for row in rows] for column, values in self.texts.items()},
            None if self.date is None else self.date[indices],
        )

    def said(self, trouble: Mapping[tuple[int, str], str]) -> str:
        """`2 cells are missing: temp_1 in row 5, …; 1 cell is unreadable: friend in row 12 ('abc')`."""
        parts = []
        for called, is_missing in (("missing", True), ("unreadable", False)):
            those = [
                (row, column) for (row, column), text in trouble.items() if (text in MISSING) == is_missing
            ]
            if those:
                places = []
                for row, column in nsmallest(_SHOWN, those):
                    text = trouble[row, column]
                    places.append(
                        f"{column} in row {self.lines[row]}{'' if is_missing else f' ({text[:40]!r})'}"
                    )
                more = ", …" if len(those) > _SHOWN else ""
                cells = "1 cell is" if len(those) == 1 else f"{len(those):,} cells are"
                parts.append(f"{cells} {called}: {', '.join(places)}{more}")
        return "; ".join(parts)


# ------------------------------------------------------------------------ from a table to examples


def _learn(table: Table, options: Options, notes: list[str]) -> tuple[Encoding, dict[str, Examples]]:
    """What the training rows teach, and all splits of the table."""
    _refuse_missing_columns(table, [*_spoken_of(options), *options.categorical, *options.ignore])
    is_date = set(options.date if len(options.date) == 1 else ())
    columns = [c for c in table.columns if c != options.target and c not in {*options.ignore, *is_date}]
    if not columns and not options.date_cycles:
        raise UserError("there is no column to learn from beside the target", where=table.source)
    categorical = [column for column in columns if column in options.categorical]
    cells = _parse(table, options, columns, categorical)
    _refuse_text(cells, table, options, columns)
    cells = _without_trouble(cells, options, table.source, notes)
    rows = _rows_of_splits(cells, options, table.source)
    training = cells.take(rows["train"])
    categories = {column: _sorted(training.texts[column]) for column in categorical}
    empty = [column for column, values in categories.items() if not values]
    empty += [column for column, values in training.numbers.items() if bool(values.isnan().all())]
    if empty:
        what = f"no training row has a value of {', '.join(empty[:10])}"
        raise UserError(what, where=table.source, fix="list it under ignore")
    scaling: tuple[float, float] | None = None
    classes: tuple[str, ...] = ()
    if options.task == "classification":
        classes = _sorted(cells.texts[options.target])
        if not 2 <= len(classes) <= _MOST_CLASSES:
            has, wanted = _different(len(classes)), f"2 to {_MOST_CLASSES:,} classes"
            raise UserError(f"{options.target} holds {has} instead of {wanted}", where=table.source)
    else:
        targets = training.numbers[options.target]
        scaling = (float(targets.mean()), float(targets.std(correction=0)))
        if targets.min() == targets.max():
            scaling = None
            if options.scale_target:
                what = f"{options.target} is {targets[0]:g} in all training rows: it cannot be scaled"
                raise UserError(what, where=table.source)
    constant = [c for c in columns if c in training.numbers and _are_same(training.numbers[c])]
    if constant and options.standardise:
        more = f" and {len(constant) - 10:,} more columns" if len(constant) > 10 else ""
        are, become = ("are", "become") if len(constant) > 1 else ("is", "becomes")
        said = f"{are} the same in all training rows, and {become} 0"
        notes.append(f"{', '.join(constant[:10])}{more} {said}")
    encoding = Encoding(tuple(columns), categories, classes, scaling, options.missing == "fill")
    return encoding, _examples(cells, rows, options, encoding, table.source)


def _read_again(
    read: Callable[[], Table], options: Options, encoding: Encoding, notes: list[str]
) -> dict[str, Examples]:
    """The splits of a table whose encoding is known already."""
    table = read()
    _refuse_missing_columns(table, [*_spoken_of(options), *encoding.columns])
    cells = _parse(table, options, encoding.columns, encoding.categories)
    cells = _without_trouble(cells, options, table.source, notes)
    return _examples(cells, _rows_of_splits(cells, options, table.source), options, encoding, table.source)


def _read_new(options: Options, encoding: Encoding, notes: list[str], path: Path) -> tuple[list[str], Tensor]:
    """A name (its date, or `row 2`) and the raw inputs (n, features) of each row of a file.

    The file needs no target and no baselines. Raises UserError for one that has not the inputs.
    """
    table = read_table(path)
    bare = replace(options, baselines={}, date=options.date if options.date_cycles else ())
    _refuse_missing_columns(table, [*bare.date, *encoding.columns])
    cells = _parse(table, bare, encoding.columns, encoding.categories, labelled=False)
    if options.date and set(options.date) <= set(table.columns):
        dated = Cells(cells.lines)
        dated.read_dates(table, options.date)
        cells.date = None if dated.trouble and not options.date_cycles else dated.date
    cells = _without_trouble(cells, bare, table.source, notes, labelled=False)
    return _names(cells), _inputs(cells, options, encoding, table.source)


def _parse(
    table: Table,
    options: Options,
    columns: Iterable[str],
    categorical: Iterable[str],
    *,
    labelled: bool = True,
) -> Cells:
    """The cells of the inputs, and where the rows are `labelled` of the target and the baselines."""
    cells, categorical = Cells(list(table.lines)), set(categorical)
    numbers = [column for column in columns if column not in categorical]
    texts = [column for column in columns if column in categorical]
    if labelled:
        (texts if options.task == "classification" else numbers).append(options.target)
        numbers += options.baselines.values()
    for column in dict.fromkeys(numbers):
        cells.read_numbers(table, column)
    for column in texts:
        cells.read_texts(table, column)
    if options.date:
        cells.read_dates(table, options.date)
    return cells


def _without_trouble(
    cells: Cells, options: Options, source: str, notes: list[str], *, labelled: bool = True
) -> Cells:
    """The rows that the policy of `missing` leaves, with what it did in the notes."""
    if not cells.trouble:
        return cells
    said = cells.said(cells.trouble)
    if options.missing == "refuse":
        fix = "mend them, or set missing: drop (leaves such rows out) or fill (takes the mean of training)"
        raise UserError(said, where=source, fix=fix)
    essential = {*options.date, *[options.target] * labelled}
    bad = {row for row, column in cells.trouble if options.missing == "drop" or column in essential}
    kept = cells.take([row for row in range(len(cells.lines)) if row not in bad])
    if not kept.lines:
        raise UserError(f"no row is left: {said}", where=source)
    if bad:
        why = cells.said({place: text for place, text in cells.trouble.items() if place[0] in bad})
        notes.append(f"{len(bad):,} of {len(cells.lines):,} rows are left out: {why}")
    if filled := {place: text for place, text in cells.trouble.items() if place[0] not in bad}:
        notes.append(f"the mean of training, or no category, stands in: {cells.said(filled)}")
    return kept


def _rows_of_splits(cells: Cells, options: Options, source: str) -> dict[str, list[int]]:
    """The rows of each split: by date the last ones are for testing, those before for validation."""
    n = len(cells.lines)
    if (options.split or ("chronological" if options.date else "random")) == "chronological":
        assert cells.date is not None, "refused without one"
        order = cells.date.argsort(stable=True).tolist()
        test = n - round(options.test_fraction * n)
        valid = test - round(options.valid_fraction * test)
        rows = {"train": order[:valid], "valid": order[valid:test], "test": order[test:]}
    else:
        is_class = options.task == "classification"
        labels = torch.zeros(n, dtype=torch.long)
        if is_class:
            names = _sorted(cells.texts[options.target])
            labels = _codes(cells, options.target, names, [])
        rest, testing = carve(
            Examples(torch.arange(n), labels), options.test_fraction, options.seed, by_class=is_class
        )
        training, valid_rows = carve(rest, options.valid_fraction, options.seed, by_class=is_class)
        parts = {"train": training, "valid": valid_rows, "test": testing}
        rows = {name: part.inputs.tolist() for name, part in parts.items()}
    for name in options.splits:
        if len(rows[name]) < 2:
            has = f"{len(rows[name])} of {n:,} {'row' if n == 1 else 'rows'}"
            fix = "change test_fraction or valid_fraction"
            raise UserError(f"the {name} split has {has}, but needs 2", where=source, fix=fix)
    return {name: rows[name] for name in options.splits}


def _examples(
    cells: Cells, rows: Mapping[str, list[int]], options: Options, encoding: Encoding, source: str
) -> dict[str, Examples]:
    """The splits, in the order of their rows."""
    unseen: list[tuple[int, str, str]] = []
    if options.task == "classification":
        targets = _codes(cells, options.target, encoding.classes, unseen)
    else:
        targets = cells.numbers[options.target].float().unsqueeze(1)
    if unseen:
        line, column, text = unseen[0]
        what = f"{column} holds {text[:40]!r} (row {line}), which is no class of the model"
        raise UserError(f"{what} {listed(encoding.classes)}", where=source)
    aside = {} if cells.date is None else {"date": cells.date}
    for name, column in options.baselines.items():
        guesses = cells.numbers[column]
        usual = guesses[torch.tensor(rows["train"])].nanmean()
        aside[name] = torch.where(guesses.isnan(), usual, guesses).float()
    whole = Examples(_inputs(cells, options, encoding, source), targets, aside)
    return {name: whole.take(torch.tensor(some)) for name, some in rows.items()}


def _inputs(cells: Cells, options: Options, encoding: Encoding, source: str) -> Tensor:
    """Raw inputs (n, features), float64: numbers, categories as 0 and 1, sines and cosines of the date."""
    width = len(encoding.features(options))
    if len(cells.lines) * width > _MOST_FIGURES:
        wide = max(encoding.categories, key=lambda column: len(encoding.categories[column]), default="")
        most = f": {wide} has {_different(len(encoding.categories[wide]))}" if wide else ""
        gigabytes = len(cells.lines) * width / 2**27
        what = f"{len(cells.lines):,} rows of {width:,} inputs are {gigabytes:,.0f} GiB{most}"
        raise UserError(what, where=source, fix="list columns under ignore")
    pieces: list[Tensor] = []
    unseen: list[tuple[int, str, str]] = []
    for column in encoding.columns:
        if column in encoding.categories:
            values = encoding.categories[column]
            codes = _codes(cells, column, values, unseen)
            pieces.append(one_hot(codes + 1, len(values) + 1)[:, 1:].double())  # code -1: no category
        else:
            pieces.append(cells.numbers[column].unsqueeze(1))
    if unseen and options.unknown == "refuse":
        line, column, text = unseen[0]
        values = encoding.categories[column]
        what = f"{column} holds {text[:40]!r} (row {line}), which training never saw{meant(text, values)}"
        more = f"; there are {len(unseen):,} such cells" if len(unseen) > 1 else ""
        fix = "unknown: zeros takes such rows as of no category"
        raise UserError(f"{what} {listed(values)}{more}", where=source, fix=fix)
    pieces += [_wave(cells.date, cycle) for cycle in options.date_cycles if cells.date is not None]
    return torch.cat(pieces, 1)


def _fit(options: Options, encoding: Encoding, training: Examples) -> Preprocessing:
    """Numbers to mean 0 and deviation 1 over the training rows; nothing else is changed.

    A number that is the same in all of them becomes 0, also where another row has another value: the
    weight on it never learnt anything.
    """
    are_numbers = encoding.are_numbers(options)
    means = torch.where(are_numbers, training.inputs.nanmean(0), 0.0)
    fill = means if options.missing == "fill" else None
    if not options.standardise:
        return Preprocessing(fill=fill)
    deviations = (training.inputs - means).square().nanmean(0).sqrt()
    deviations[_are_same(training.inputs)] = math.inf
    return Preprocessing(means, torch.where(are_numbers, deviations, 1.0), fill)


# ------------------------------------------------------------------------ single cells and columns


def _moment(texts: Sequence[str]) -> datetime:
    """The moment that one ISO 8601 text, or a year, a month and a day name; UTC where none is said."""
    if len(texts) == 1:
        moment = datetime.fromisoformat(texts[0])
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not all(map(_is_whole, texts)):
        raise ValueError("no whole numbers")
    year, month, day = (int(number(text) or 0) for text in texts)
    try:
        return datetime.combine(date(year, month, day), datetime.min.time(), UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from None


def _is_whole(text: str) -> bool:
    try:
        value = number(text)
    except ValueError:
        return False
    return value is not None and value.is_integer()


def _wave(seconds: Tensor, cycle: Cycle) -> Tensor:
    """Sine and cosine of how far a year, a week (from Monday) or a day has gone, (n, 2)."""
    days = seconds.double() / 86400
    if cycle == "year":
        moments = [_START + timedelta(seconds=value) for value in seconds.tolist()]
        gone = [
            (moment - _START.replace(year=moment.year)) / timedelta(days=365 + isleap(moment.year))
            for moment in moments
        ]
        share = torch.tensor(gone, dtype=torch.float64)
    else:
        share = days % 1 if cycle == "day" else (days + 3) % 7 / 7  # 1970 began on a Thursday
    return torch.stack([(2 * math.pi * share).sin(), (2 * math.pi * share).cos()], 1)


def _codes(cells: Cells, column: str, values: Sequence[str], unseen: list[tuple[int, str, str]]) -> Tensor:
    """The place of each cell among `values` (n,), -1 for none; those that should have one go to `unseen`."""
    places = {value: place for place, value in enumerate(values)}
    codes = [places.get(text, -1) for text in cells.texts[column]]
    for line, text, code in zip(cells.lines, cells.texts[column], codes, strict=True):
        if code < 0 and text:
            unseen.append((line, column, text))
    return torch.tensor(codes)


def _sorted(texts: Iterable[str]) -> tuple[str, ...]:
    """The different texts in order: of numbers by size, else as text."""
    different = {text for text in texts if text}
    try:
        return tuple(sorted(different, key=lambda text: (number(text) or 0.0, text)))
    except ValueError:
        return tuple(sorted(different))


def _are_same(values: Tensor) -> Tensor:
    """Whether all that is there along the first axis is the same."""
    lowest = torch.where(values.isnan(), math.inf, values).amin(0)
    return lowest == torch.where(values.isnan(), -math.inf, values).amax(0)


def _names(cells: Cells) -> list[str]:
    """What the rows are called: by their dates where these tell them apart."""
    if cells.date is not None and len(cells.date.unique()) == len(cells.date):
        moments = [_START + timedelta(seconds=value) for value in cells.date.tolist()]
        are_days = not bool((cells.date % 86400).any())
        return [str(moment.date() if are_days else moment.replace(tzinfo=None)) for moment in moments]
    return [f"row {line}" for line in cells.lines]


def _texts(value: Any) -> tuple[str, ...]:
    """A list of different texts from anyone. Raises ValueError for anything else."""
    if not isinstance(value, list) or not all(type(item) is str for item in value):
        raise ValueError("what it knows is no list of names")
    if len(set(value)) < len(value):
        raise ValueError("a name that it knows stands there twice")
    return tuple(value)


def _different(n: int) -> str:
    return "a single value" if n == 1 else f"{n:,} different values"


# ------------------------------------------------------------------------ what is refused


def _refuse_contradictions(options: Options) -> None:
    """Raises UserError for options that cannot all be meant, whatever the table."""
    target, mistakes = options.target, []
    for key, columns in (
        ("categorical", options.categorical),
        ("date", options.date),
        ("ignore", options.ignore),
        ("baselines", list(options.baselines.values())),
    ):
        if target in columns:
            mistakes.append(f"{target} is the target, and cannot be under {key} too")
        if key != "baselines" and len(set(columns)) < len(columns):
            mistakes.append(f"{key} names a column twice")
    if len(options.date) not in (0, 1, 3):
        mistakes.append("date must name one column, or three: year, month and day")
    if len(options.date) == 1 and options.date[0] in {*options.categorical, *options.baselines.values()}:
        mistakes.append(f"{options.date[0]} is the date, and can be nothing else")
    if options.date_cycles and not options.date:
        mistakes.append("date_cycles need a date")
    if options.split == "chronological" and not options.date:
        mistakes.append("a chronological split needs a date")
    if taken := options.baselines.keys() & {"date", "mean"}:
        mistakes.append(f"a baseline cannot be called {sorted(taken)[0]}")
    if options.task == "classification" and (options.baselines or options.scale_target):
        mistakes.append("baselines and scale_target are for a regression")
    if mistakes:
        raise UserError("; ".join(mistakes))


def _spoken_of(options: Options) -> list[str]:
    """The columns that must be there beside the inputs."""
    return [options.target, *options.date, *options.baselines.values()]


def _refuse_missing_columns(table: Table, wanted: Iterable[str]) -> None:
    """Raises UserError where the table lacks a column that is wanted."""
    there = set(table.columns)
    missing = [column for column in dict.fromkeys(wanted) if column not in there]
    if missing:
        said = [f"{column[:40]!r}{meant(column, table.columns)}" for column in missing[:_SHOWN]]
        what = "there is no column " + ", nor ".join(said) + (", …" if len(missing) > _SHOWN else "")
        raise UserError(f"{what} {listed(name[:40] for name in table.columns)}", where=table.source)


def _refuse_text(cells: Cells, table: Table, options: Options, columns: Sequence[str]) -> None:
    """Raises UserError for columns that should hold numbers or dates and hold mostly something else."""
    unreadable: dict[str, list[int]] = {}
    missing: dict[str, int] = {}
    for (row, column), text in cells.trouble.items():
        if text in MISSING:
            missing[column] = missing.get(column, 0) + 1
        else:
            unreadable.setdefault(column, []).append(row)
    mistakes, fixes = [], []
    for column, rows in unreadable.items():
        if 2 * len(rows) <= len(table.rows) - missing.get(column, 0):
            continue
        text = cells.trouble[min(rows), column]
        mistakes.append(f"{column} holds text such as {text[:40]!r} (row {table.lines[min(rows)]})")
        if [column] == list(options.date):
            fixes.append("write dates as 2016-01-31 or 2016-01-31 12:00")
        elif column == options.target:
            fixes.append("for names of classes set task: classification")
        elif column in columns:
            fixes.append("list columns of text under categorical or ignore")
        else:
            fixes.append("year, month, day and baselines are numbers")
    if mistakes:
        more = f"; and {len(mistakes) - 10} more columns do" if len(mistakes) > 10 else ""
        raise UserError(
            "; ".join(mistakes[:10]) + more, where=table.source, fix="; ".join(dict.fromkeys(fixes))
        )


def _refuse_other_inputs(encoding: Encoding, options: Options) -> None:
    """Raises UserError where options were changed that a trained model cannot follow."""
    mistakes = [
        f"{column} is an input of the model, and cannot be {role}"
        for column, role in [(options.target, "the target"), *((c, "ignored") for c in options.ignore)]
        if column in encoding.columns
    ]
    if set(options.categorical) & set(encoding.columns) != encoding.categories.keys():
        mistakes.append(f"the model takes as categorical {listed(encoding.categories)}")
    if options.missing == "fill" and not encoding.fills:
        mistakes.append("the model was trained without missing: fill, and has nothing to fill with")
    if options.scale_target and encoding.scaling is None:
        mistakes.append("the model knows no scale of the target")
    if (options.task == "classification") != bool(encoding.classes):
        mistakes.append(f"the model is not for {options.task}")
    if mistakes:
        raise UserError("; ".join(mistakes))
