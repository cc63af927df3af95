"""Rows of a table as examples: what is an input, in which split, and what a checkpoint must know of it."""

from __future__ import annotations

import math
import re
from calendar import isleap
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dlrun.data import Data, Examples, Preprocessing, Task, carve
from dlrun.dataset._cells import SHOWN, START, Cells, in_order
from dlrun.errors import UserError, listed, meant
from dlrun.tables import MISSING, Table, TooLarge, is_number, number, read_table

Cycle = Literal["year", "week", "day"]
_MOST_CLASSES = 1000
_MOST_FIGURES = 2**29  # in all inputs together: 4 GiB
_MOST_NAMED = 10  # columns in a message
_MEANT_AS_NUMBER = re.compile(r"[+−-]? ?[$€£¥]?\d*([.,'_ ]\d+)* ?[%€]?")  # in any script
_MEANT_AS_NOTHING = ("", "inf", "infinity", "none", "nil", "?", ".", "#n/a", "#div/0!", "#value!", "missing")


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
    try:
        is_below = not given.exists() and (root / given).exists()
    except OSError as error:
        raise UserError(f"there is no file {path[:100]}: {error.strerror}") from None
    return read_table(root / given if is_below else given)


def table_data(read: Callable[[], Table], options: Options, known: Mapping[str, Any] | None) -> Data:
    """A table as a dataset. Without `known` it is read at once, for its columns say what the inputs are.

    Raises UserError for options that fit neither each other nor the table; ValueError, TypeError or
    KeyError for a `known` that is none.
    """
    _refuse_contradictions(options)
    notes: list[str] = []
    splits: dict[str, Examples] | None = None
    if known is None:
        encoding, splits = _learn(read(), options, notes)
    else:
        encoding = Encoding.remembered(known)
        _refuse_another_encoding(encoding, options)
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


@dataclass(frozen=True)
class Encoding:
    """How rows become inputs: what was learnt from the training rows, beside the preprocessing."""

    columns: tuple[str, ...]  # numbers and categories, in the order of the file
    categories: Mapping[str, tuple[str, ...]]
    classes: tuple[str, ...]
    scaling: tuple[float, float] | None  # mean and deviation of the target; None where it never changes
    fills: bool  # whether the preprocessing holds what stands in for missing numbers

    @classmethod
    def remembered(cls, known: Mapping[str, Any]) -> Encoding:
        """The encoding that plain values from anyone describe. Raises ValueError, TypeError or KeyError."""
        columns, categories, scaling = _texts(known["columns"]), known["categories"], known["scaling"]
        if not isinstance(categories, dict) or not categories.keys() <= set(columns):
            raise ValueError("the columns and categories it knows do not fit together")
        if scaling is not None:
            mean, deviation = map(float, scaling)
            if not (math.isfinite(mean) and 0 < deviation < math.inf):
                raise ValueError("the mean and deviation it knows are none")
            scaling = (mean, deviation)
        values = {column: _texts(categories[column]) for column in columns if column in categories}
        return cls(columns, values, _texts(known["classes"]), scaling, known["fills"] is True)

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
            raise UserError(f"two inputs are called {twice[:40]!r}")
        return tuple(names)

    def are_numbers(self, options: Options) -> Tensor:
        """Which inputs are numbers of the table, neither categories nor cycles: (features,) bool."""
        found: list[bool] = []
        for column in self.columns:
            found += [False] * len(self.categories[column]) if column in self.categories else [True]
        return torch.tensor(found + [False, False] * len(options.date_cycles))


# ------------------------------------------------------------------------ from a table to examples


def _learn(table: Table, options: Options, notes: list[str]) -> tuple[Encoding, dict[str, Examples]]:
    """What the training rows teach, and all splits of the table."""
    _refuse_missing_columns(table, [*_needed(options), *options.categorical, *options.ignore])
    left_out = {options.target, *options.ignore, *(options.date if len(options.date) == 1 else ())}
    columns = [column for column in table.columns if column not in left_out]
    if not columns and not options.date_cycles:
        raise UserError("beside the target there is no column to learn from", where=table.source)
    categorical = [column for column in columns if column in options.categorical]
    cells = _parse(table, options, columns, categorical)
    _refuse_text(cells, table, options, columns)
    cells = _without_trouble(cells, options, notes)
    classes = in_order(cells.texts[options.target]) if options.task == "classification" else ()
    if options.task == "classification" and not 2 <= len(classes) <= _MOST_CLASSES:
        has = f"{options.target} has {_different(len(classes))}"
        fix = "for numbers set task: regression" if len(classes) > 1 else "name another target"
        raise UserError(f"{has}, but classes are 2 to {_MOST_CLASSES:,}", where=table.source, fix=fix)
    rows = _rows_of_splits(cells, options, len(table.rows))
    training = cells.take(rows["train"])
    encoding = Encoding(
        tuple(columns),
        {column: in_order(training.texts[column]) for column in categorical},
        classes,
        _scaling(training.numbers.get(options.target)),
        options.missing == "fill",
    )
    _refuse_unlearnable(training, encoding, options)
    seen = set(training.texts.get(options.target, encoding.classes))
    if absent := [name for name in encoding.classes if name not in seen]:
        notes.append(f"no training row is of the class {_some(absent)}: it cannot be learnt")
    constant = [c for c in columns if c in training.numbers and _are_same(training.numbers[c])]
    if constant and options.standardise:
        are, become = ("are", "become") if len(constant) > 1 else ("is", "becomes")
        notes.append(f"{_some(constant)} {are} the same in all training rows, and {become} 0")
    return encoding, _examples(cells, rows, options, encoding, notes)


def _splits(
    read: Callable[[], Table], options: Options, encoding: Encoding, notes: list[str]
) -> dict[str, Examples]:
    """All splits of a table whose encoding is known."""
    table = read()
    _refuse_missing_columns(table, [*_needed(options), *encoding.columns])
    cells = _without_trouble(_parse(table, options, encoding.columns, encoding.categories), options, notes)
    rows = _rows_of_splits(cells, options, len(table.rows))
    return _examples(cells, rows, options, encoding, notes)


def _read_new(options: Options, encoding: Encoding, notes: list[str], path: Path) -> tuple[list[str], Tensor]:
    """A name (its date, or `row 2`) and the raw inputs (n, features) of each row of a file.

    The file needs neither the target nor the baselines, and dates only for their cycles. Raises
    UserError where it lacks inputs.
    """
    table = read_table(path)
    bare = replace(options, baselines={}, date=options.date if options.date_cycles else ())
    _refuse_missing_columns(table, [*bare.date, *encoding.columns])
    cells = _parse(table, bare, encoding.columns, encoding.categories, labelled=False)
    if not bare.date and options.date and set(options.date) <= set(table.columns):
        dated = Cells(cells.source, cells.lines)
        dated.read_dates(table, options.date)
        cells.date = None if dated.trouble else dated.date
    try:
        cells = _without_trouble(cells, bare, notes, labelled=False)
        return cells.names(), _inputs(cells, options, encoding, notes)
    except UserError as error:
        fix = "mend the file; how a model takes missing and unknown cells is settled when it is trained"
        raise UserError(error.what, where=error.where, fix=fix) from None


def _parse(
    table: Table,
    options: Options,
    columns: Iterable[str],
    categorical: Iterable[str],
    *,
    labelled: bool = True,
) -> Cells:
    """The cells of the inputs and the date, and where rows are `labelled` of the target and baselines."""
    cells, texts = Cells(table.source, list(table.lines)), list(categorical)
    numbers = [column for column in columns if column not in set(texts)]
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


def _without_trouble(cells: Cells, options: Options, notes: list[str], *, labelled: bool = True) -> Cells:
    """The rows that the policy of `missing` leaves; the notes say what it did."""
    if not cells.trouble:
        return cells
    said = cells.said(cells.trouble)
    if options.missing == "refuse":
        fix = "mend them, or set missing: drop (leaves such rows out) or fill (takes the mean of training)"
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


def _rows_of_splits(cells: Cells, options: Options, total: int) -> dict[str, list[int]]:
    """The rows of each split, of those that are left of a total.

    By date the last ones are for testing, those before for validation.
    """
    n = len(cells)
    classes = in_order(cells.texts[options.target]) if options.task == "classification" else ()
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
        rows = {name: part.inputs.tolist() for name, part in parts.items()}
    for name in options.splits:
        if len(rows[name]) < 2:
            said = f"{n:,} row{'s' * (n > 1)}" + (f" left of {total:,}" if n < total else "")
            said += f" in {len(classes):,} classes" if classes else ""
            what = f"of {said} the {name} split gets {len(rows[name])}, but needs 2"
            fix = "add rows, or change test_fraction or valid_fraction"
            raise UserError(what, where=cells.source, fix=fix)
    return {name: rows[name] for name in options.splits}


def _between_dates(dates: Sequence[int], border: int) -> int:
    """The border moved on, among sorted dates, so that no date has rows on both sides of it.

    If no later date follows it goes to the start of the last one; with a single date it stays.
    """
    starts = [0, *(place for place in range(1, len(dates)) if dates[place] != dates[place - 1])]
    if border in (0, len(dates)) or len(starts) == 1:
        return border
    return next((start for start in starts if start >= border), starts[-1])


def _examples(
    cells: Cells, rows: Mapping[str, list[int]], options: Options, encoding: Encoding, notes: list[str]
) -> dict[str, Examples]:
    """The splits, each in the order of its rows."""
    if options.task == "classification":
        unseen: list[tuple[int, str, str]] = []
        targets = _codes(cells, options.target, encoding.classes, unseen)
        if unseen:
            what = f"{_said_unseen(unseen)}, no class of the model {listed(encoding.classes)}"
            raise UserError(what, where=cells.source)
    else:
        targets = cells.numbers[options.target].float().unsqueeze(1)
    aside = {} if cells.date is None else {"date": cells.date}
    for name, column in options.baselines.items():
        guesses = cells.numbers[column]
        usual = guesses[torch.tensor(rows["train"])].nanmean()
        aside[name] = torch.where(guesses.isnan(), usual, guesses).float()
    whole = Examples(_inputs(cells, options, encoding, notes), targets, aside)
    return {name: whole.take(torch.tensor(some)) for name, some in rows.items()}


def _inputs(cells: Cells, options: Options, encoding: Encoding, notes: list[str]) -> Tensor:
    """Raw inputs (n, features), float64: numbers, categories as 0 and 1, sines and cosines of the date."""
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
            pieces.append(one_hot(codes + 1, len(values) + 1)[:, 1:].double())  # code -1: no category
        else:
            pieces.append(cells.numbers[column].unsqueeze(1))
    if unseen and options.unknown == "refuse":
        _, column, text = unseen[0]
        values = encoding.categories[column]
        what = f"{_said_unseen(unseen)}, which training never saw{meant(text, values)}"
        fix = "set unknown: zeros, and such cells are of no category"
        raise UserError(f"{what} {listed(values)}", where=cells.source, fix=fix)
    if unseen:
        notes.append(f"{_said_unseen(unseen)}, which training never saw: of no category")
    pieces += [_waves(cells.date, cycle) for cycle in options.date_cycles if cells.date is not None]
    return torch.cat(pieces, 1)


def _fit(options: Options, encoding: Encoding, training: Examples) -> Preprocessing:
    """Numbers to mean 0 and deviation 1 over the training rows; nothing else is changed.

    A number that is the same in all of them becomes 0 whatever it is in other rows: its weight never
    learnt anything.
    """
    are_numbers = encoding.are_numbers(options)
    means = torch.where(are_numbers, training.inputs.nanmean(0), 0.0)
    fill = means if options.missing == "fill" else None
    if not options.standardise:
        return Preprocessing(fill=fill)
    deviations = (training.inputs - means).square().nanmean(0).sqrt()
    deviations[_are_same(training.inputs) | (deviations == 0)] = math.inf  # squares of 1e-300 are 0
    return Preprocessing(means, torch.where(are_numbers, deviations, 1.0), fill)


def _scaling(targets: Tensor | None) -> tuple[float, float] | None:
    """Mean and deviation of the training targets, None where there is none."""
    if targets is None or _are_same(targets):
        return None
    return float(targets.mean()), float(targets.std(correction=0))


def _waves(seconds: Tensor, cycle: Cycle) -> Tensor:
    """Sine and cosine of how far the year, the week (from Monday) or the day has gone, (n, 2)."""
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
    """The place of each cell among `values`, (n,), -1 for none.

    Texts that have no place go to `unseen`, with their line and column.
    """
    places = {value: place for place, value in enumerate(values)}
    codes = [places.get(text, -1) for text in cells.texts[column]]
    for line, text, code in zip(cells.lines, cells.texts[column], codes, strict=True):
        if code < 0 and text:
            unseen.append((line, column, text))
    return torch.tensor(codes)


def _are_same(values: Tensor) -> Tensor:
    """Whether all values along the first axis are the same, apart from those that are missing."""
    lowest = torch.where(values.isnan(), math.inf, values).amin(0)
    return lowest == torch.where(values.isnan(), -math.inf, values).amax(0)


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
    if both := sorted({*options.categorical} & {*options.baselines.values()}):
        mistakes.append(f"{both[0]} is categorical, and cannot be a baseline")
    if options.date_cycles and not options.date:
        mistakes.append("date_cycles need a date")
    if options.split == "chronological" and not options.date:
        mistakes.append("a chronological split needs a date")
    if taken := sorted(options.baselines.keys() & {"date", "mean"}):
        mistakes.append(f"a baseline cannot be called {taken[0]}")
    if options.task == "classification" and (options.baselines or options.scale_target):
        mistakes.append("baselines and scale_target are for a regression")
    if mistakes:
        raise UserError("; ".join(mistakes))


def _needed(options: Options) -> list[str]:
    """The columns that must be there beside the inputs."""
    return [options.target, *options.date, *options.baselines.values()]


def _refuse_missing_columns(table: Table, wanted: Iterable[str]) -> None:
    """Raises UserError where the table lacks a column."""
    there = set(table.columns)
    missing = [column for column in dict.fromkeys(wanted) if column not in there]
    if missing:
        if all(map(is_number, table.columns)):
            what = "the first row holds numbers, but must name the columns"
            raise UserError(what, where=f"{table.source}:1", fix="put a row of names before it")
        said = [f"{column[:40]!r}{meant(column, table.columns)}" for column in missing[:SHOWN]]
        what = f"there is no column {', nor '.join(said)}{', …' if len(missing) > SHOWN else ''}"
        raise UserError(f"{what} {listed(name[:40] for name in table.columns)}", where=table.source)


def _refuse_text(cells: Cells, table: Table, options: Options, columns: Sequence[str]) -> None:
    """Raises UserError for columns that should hold numbers or dates, and mostly hold something else."""
    missing: Counter[str] = Counter()
    unreadable: dict[str, list[int]] = {}
    for (row, column), text in cells.trouble.items():
        if text in MISSING:
            missing[column] += 1
        else:
            unreadable.setdefault(column, []).append(row)
    mistakes, fixes = [], []
    for column, rows in unreadable.items():
        if 2 * len(rows) <= len(cells) - missing[column]:
            continue
        first = min(rows)
        text = cells.trouble[first, column]
        what = "numbers beyond float32" if _is_large(text) else "text"
        mistakes.append(f"{column} holds {what} such as {text[:40]!r} (row {table.lines[first]})")
        if [column] == list(options.date):
            fixes.append("write dates as 2016-01-31 or 2016-01-31 12:00")
        elif column in options.date:
            fixes.append("year, month and day are whole numbers, such as 2016, 1 and 31")
        elif _is_large(text):
            fixes.append("give such numbers in a larger unit")
        elif _MEANT_AS_NUMBER.fullmatch(text):
            fixes.append("write numbers as 1234.5: a point, nothing between thousands, no sign but + or -")
        elif text.lower().lstrip("+-") in _MEANT_AS_NOTHING:
            fixes.append("leave cells without a value empty, or write NA")
        elif column == options.target:
            fixes.append("for names of classes set task: classification")
        elif column in columns:
            fixes.append("list columns of text under categorical, date or ignore")
        else:
            fixes.append("baselines, and dates in three columns, are numbers")
    if mistakes:
        fix = "; ".join(dict.fromkeys(fixes))
        more = f"; and so do {len(mistakes) - _MOST_NAMED:,} more" if len(mistakes) > _MOST_NAMED else ""
        raise UserError("; ".join(mistakes[:_MOST_NAMED]) + more, where=table.source, fix=fix)


def _is_large(text: str) -> bool:
    """Whether a text is a number, but more than float32 holds."""
    try:
        number(text)
    except TooLarge:
        return True
    except ValueError:
        pass
    return False


def _refuse_unlearnable(training: Cells, encoding: Encoding, options: Options) -> None:
    """Raises UserError where the training rows teach nothing of what they must."""
    empty = [column for column, values in encoding.categories.items() if not values]
    empty += [column for column, values in training.numbers.items() if bool(values.isnan().all())]
    if empty:
        what = f"no training row has a value of {_some(empty)}"
        it = "it" if len(empty) == 1 else "them"
        are_guesses = set(empty) & {*options.baselines.values()}
        fix = f"take {it} out of baselines, and list {it} under ignore" if are_guesses else ""
        raise UserError(what, where=training.source, fix=fix or f"list {it} under ignore")
    if options.scale_target and encoding.scaling is None:
        what = f"{options.target} is the same in all training rows, and cannot be scaled"
        raise UserError(what, where=training.source, fix="set scale_target: false, or name another target")


def _refuse_another_encoding(encoding: Encoding, options: Options) -> None:
    """Raises UserError for options that a trained model cannot follow."""
    roles = [(options.target, "the target"), *((column, "ignored") for column in options.ignore)]
    mistakes = [
        f"{column} is an input of the model, and cannot be {role}"
        for column, role in roles
        if column in encoding.columns
    ]
    if set(options.categorical) & set(encoding.columns) != encoding.categories.keys():
        mistakes.append(f"the model has its own categorical columns {listed(encoding.categories)}")
    if options.missing == "fill" and not encoding.fills:
        mistakes.append("the model was trained without missing: fill, and has nothing to fill with")
    if options.scale_target and encoding.scaling is None:
        mistakes.append("the model was trained without a scale of the target")
    if (options.task == "classification") != bool(encoding.classes):
        mistakes.append(f"the model was not trained for {options.task}")
    if mistakes:
        raise UserError("; ".join(mistakes))


def _texts(value: Any) -> tuple[str, ...]:
    """A list of different texts, from anyone. Raises ValueError for anything else."""
    if not isinstance(value, list) or not all(type(item) is str for item in value):
        raise ValueError("what it knows is no list of names")
    if len(set(value)) < len(value):
        raise ValueError("a name that it knows is there twice")
    return tuple(value)


def _said_unseen(unseen: Sequence[tuple[int, str, str]]) -> str:
    line, column, text = unseen[0]
    others = f" (and so on in {len(unseen) - 1:,} more cells)" if len(unseen) > 1 else ""
    return f"{column} holds {text[:40]!r} in row {line}{others}"


def _some(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - _MOST_NAMED:,} more" if len(columns) > _MOST_NAMED else ""
    return ", ".join(columns[:_MOST_NAMED]) + more


def _different(n: int) -> str:
    return "a single value" if n == 1 else f"{n:,} different values"
