"""Columns that give the target away, stand for the rows themselves, or differ in test."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dlrun.data.examples import Data, Split
from dlrun.data.trees import single
from dlrun.errors import first_few, shortened
from dlrun.system.randomness import generator

_MOST_ROWS = 20_000  # that are looked at in a split
_MOST_NUMBERS = 2_000_000  # that are looked at in a split: fewer rows of a wide table
_MOST_COLUMNS = 2_000
_FEWEST_ROWS = 30  # in fewer, a column gives the target by chance
_PIECE = 65_536  # rows that are read at a time
_EXPLAINED = 0.999  # R² of one column alone that is said
_RIGHT = 0.99  # share of the majority class's errors which one column alone avoids that is said
_MOVED = 0.5  # distance between the distributions of train and test, from 0 to 1, that is said
_CHANCE = 7.0  # -log of the probability from which something is no chance: one in a thousand
_ID = re.compile(r"(^|[_\s.-])(id|uid|uuid|index|rowid|rownames?)$|^unnamed: \d+$", re.IGNORECASE)
_MISSING = -1e300  # stands for a missing number: below all that float32 can hold
_MOST_NAMED = 3


@dataclass(frozen=True)
class Column:
    """A column of a table: one input, or the inputs that are 0 or 1 for each category of `name`."""

    name: str
    inputs: range
    is_category: bool = False

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Its values (n,) in rows (n, inputs): numbers, or the places of categories, -1 for none of them.

        A missing number is _MISSING.
        """
        own = rows[:, self.inputs.start : self.inputs.stop]
        if self.is_category:
            return np.where(own.any(1), own.argmax(1), -1).astype(np.float64)
        return np.where(np.isnan(own[:, 0]), _MISSING, own[:, 0])


def column_warnings(data: Data, splits: Mapping[str, Split]) -> Iterator[str]:
    """Yield a warning for each kind of suspicious column, naming the columns.

    Those that count the rows or differ in each, that equal the target or predict it alone, and that are
    distributed otherwise in test than in train. There are none of inputs that are no vectors of numbers, or
    are windows of a series. It looks at some thousand rows, and at all of them only for columns that may be
    ids.
    """
    if len(data.shape) != 1 or not data.shape[0] or data.has_whole_numbers() or data.forecasts:
        return
    training = splits["train"]
    chosen = _some(training, data.shape[0])
    rows = _numbers(training, chosen)
    columns = columns_of(data.features or [f"x{place}" for place in range(1, data.shape[0] + 1)], rows)
    columns = columns[:_MOST_COLUMNS]
    if len(rows) < _FEWEST_ROWS:
        return
    leave, earlier = _remedy(data), [column for column in columns if column.name in data.lags]
    columns = [column for column in columns if column.name not in data.lags]
    counting, dating, different = _ids(columns, rows, splits)
    if counting:
        yield f"{_few(counting)}: counts the rows, which says nothing of new ones; {leave}"
    if dating:
        yield (
            f"{_few(dating)}: counts up with the rows, as a date does, so that its neighbours tell of a "
            f"row in test; split by date, or {leave}"
        )
    if different:
        yield f"{_few(different)}: different in every row, as an id is, and of no use for new ones; {leave}"
    others = [column for column in columns if column.name not in {*counting, *dating, *different}]
    for what, wanted in _targets(data, training, chosen):
        if alone := list(_giving_away(data, others, rows, wanted)):
            found = f"{what} can be told from one input alone: {_few(alone)}"
            yield f"{found}; if it comes after the target, {leave}"
    if "test" in splits:
        test = _numbers(splits["test"], _some(splits["test"], data.shape[0]))
        for some, fix in ((others, leave), (earlier, "take such steps out of lags")):
            if moved := list(_moved(some, rows, test)):
                found = f"test is not distributed as train is: {_few(moved)}"
                yield f"{found}; the model has to extrapolate there: split otherwise, or {fix}"


def columns_of(features: Sequence[str], rows: np.ndarray) -> list[Column]:
    """The columns of inputs with these names: neighbours `k=a`, `k=b` are the categories of k."""
    found: list[Column] = []
    start = 0
    while start < len(features):
        stem, equals, _ = features[start].partition("=")
        stop = start + 1
        while equals and stop < len(features) and features[stop].startswith(f"{stem}="):
            stop += 1
        own = rows[:, start:stop]
        if equals and bool(((own == 0) | (own == 1)).all()):
            found.append(Column(stem, range(start, stop), is_category=True))
        else:
            found += [Column(features[place], range(place, place + 1)) for place in range(start, stop)]
        start = stop
    return found


def _some(split: Split, width: int) -> torch.Tensor:
    """The places of some rows of a split, drawn at random, in their order."""
    most = min(_MOST_ROWS, max(500, _MOST_NUMBERS // width))
    drawn = torch.randperm(len(split), generator=generator("leaks", 0, 0))[:most]
    return drawn.sort().values


def _numbers(split: Split, chosen: torch.Tensor) -> np.ndarray:
    found: np.ndarray = split.raw(chosen).double().numpy()
    return found


# ------------------------------------------------------------------ ids


def _ids(
    columns: Sequence[Column], rows: np.ndarray, splits: Mapping[str, Split]
) -> tuple[list[str], list[str], list[str]]:
    """The names of columns that count the rows from 0 or 1, that count them from elsewhere, and of ids.

    An id is a text or a whole number that is different in every row.
    """
    counting: list[str] = []
    dating: list[str] = []
    different = [c.name for c in columns if c.is_category and len(c.inputs) >= 0.9 * len(splits["train"])]
    numbers = [c for c in columns if not c.is_category and _are_different_wholes(c.of(rows))]
    origins = [split.origin for split in splits.values()]
    places = None if None in origins else torch.cat([o for o in origins if o is not None]).numpy()
    for column, values in zip(numbers, _in_all_rows(numbers, splits), strict=True):
        if not _are_different_wholes(values):
            continue
        span = values.max() - values.min() + 1
        if places is not None:
            counts = bool((values - places == values[0] - places[0]).all())
            starts_at = values[0] - places[0]
        else:
            counts = span == len(values)
            starts_at = values.min()
        if counts and starts_at in (0, 1):
            counting.append(column.name)
        elif counts and places is not None:
            if not _is_later(values, splits):
                dating.append(column.name)
        elif _ID.search(column.name) or len(values) ** 2 / (2 * span) > _CHANCE:
            different.append(column.name)  # of numbers drawn from such a span some would be equal
    return counting, dating, different


def _is_later(values: np.ndarray, splits: Mapping[str, Split]) -> bool:
    """True if the values of test, of those of all splits, are larger than those of train."""
    ends = np.cumsum([len(split) for split in splits.values()])
    own = dict(zip(splits, np.split(values, ends[:-1]), strict=True))
    return "test" in own and bool(own["test"].min() > own["train"].max())


def _are_different_wholes(values: np.ndarray) -> bool:
    return bool((values == np.floor(values)).all()) and len(np.unique(values)) == len(values)


def _in_all_rows(columns: Sequence[Column], splits: Mapping[str, Split]) -> list[np.ndarray]:
    """The values of some columns in the rows of all splits, one split after the other."""
    if not columns:
        return []
    pieces = [
        [column.of(rows) for column in columns]
        for split in splits.values()
        for some in torch.arange(len(split)).split(_PIECE)
        for rows in [_numbers(split, some)]
    ]
    return [np.concatenate(own) for own in zip(*pieces, strict=True)]


# ------------------------------------------------------------------ columns that give the target away


def _targets(data: Data, training: Split, chosen: torch.Tensor) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and the values (n,) of a single target, or of each that has a name of its own."""
    targets = training.targets_at(chosen.to(training.device))
    if data.task not in ("classification", "regression") or not isinstance(targets, torch.Tensor):
        return
    wanted = single(targets).cpu().double().numpy()
    if data.target_names:
        yield from zip(data.target_names, wanted.T, strict=True)
    elif wanted.squeeze().ndim == 1:
        yield data.target or "the target", wanted.squeeze()


def _giving_away(
    data: Data, columns: Sequence[Column], rows: np.ndarray, wanted: np.ndarray
) -> Iterator[str]:
    """Yield the columns that predict targets (n,) of rows that they were not fitted to, with the figure."""
    if len(np.unique(wanted)) < 2:
        return
    rare = 1 - np.unique(wanted, return_counts=True)[1].max() / len(wanted)  # not of the majority class
    for column in columns if len(columns) > 1 else ():
        values = column.of(rows)
        if data.classes:
            right = float((_told(values, wanted, are_classes=True) == wanted).mean())
            if 1 - right <= (1 - _RIGHT) * rare:
                yield f"{column.name} ({right:.2%} of the classes)"
        elif np.allclose(values, wanted, rtol=1e-6, atol=0):
            yield f"{column.name} (the same number in every row)"
        else:
            errors = _told(values, wanted, are_classes=False) - wanted
            if (explained := 1 - errors.var() / wanted.var()) >= _EXPLAINED:
                yield f"{column.name} (R² {explained:.4f})"


def _told(values: np.ndarray, targets: np.ndarray, *, are_classes: bool) -> np.ndarray:
    """The target (n,) of each row as the nearest values of one column in the other half of the rows tell it.

    A class is that of the nearest value, a number lies on the line between the nearest two. Equal values
    have the most frequent of their classes, or the mean of their numbers.
    """
    told = np.empty_like(targets)
    is_odd = np.arange(len(values)) % 2 == 1
    for half in (is_odd, ~is_odd):
        known, places, counts = np.unique(values[~half], return_inverse=True, return_counts=True)
        if are_classes:
            classes = int(targets.max()) + 1
            pairs, frequent = np.unique(places * classes + targets[~half].astype(int), return_counts=True)
            pairs = pairs[np.lexsort((frequent, pairs // classes))]
            usual = pairs[np.flatnonzero(np.diff(pairs // classes, append=-1))] % classes
            borders = (known[1:] + known[:-1]) / 2
            told[half] = usual[np.searchsorted(borders, values[half])]
        else:
            means = np.bincount(places, targets[~half]) / counts
            told[half] = np.interp(values[half], known, means)
    return told


# ------------------------------------------------------------------ columns that differ in test


def _moved(columns: Sequence[Column], training: np.ndarray, test: np.ndarray) -> Iterator[str]:
    """Yield the columns whose values in test differ from those in train by more than chance, and how."""
    n, m = len(training), len(test)
    bound = max(_MOVED, math.sqrt(_CHANCE * (n + m) / (n * m)))
    for column in columns:
        before, after = column.of(training), column.of(test)
        if column.is_category:
            size = len(column.inputs) + 1
            shares = [np.bincount(own.astype(int) + 1, minlength=size) / len(own) for own in (before, after)]
            is_common = shares[0] * n >= 10  # rare ones differ by chance; together they are one
            pooled = [np.append(own[is_common], own[~is_common].sum()) for own in shares]
            if np.abs(pooled[0] - pooled[1]).sum() / 2 >= bound:
                yield f"{column.name} (other categories)"
            continue
        if after.min() > before.max() or after.max() < before.min():
            if m >= 2:
                yield f"{column.name} ({_span(after)}, in train {_span(before)})"
            continue
        values = np.concatenate([before, after])
        shares = [np.searchsorted(np.sort(own), values, "right") / len(own) for own in (before, after)]
        if np.abs(shares[0] - shares[1]).max() >= bound:
            middles = [_number(float(np.median(own))) for own in (after, before)]
            yield f"{column.name} (median {middles[0]}, in train {middles[1]})"


def _span(values: np.ndarray) -> str:
    return f"{_number(float(values.min()))} to {_number(float(values.max()))}"


def _number(value: float) -> str:
    return "missing" if value == _MISSING else f"{value:.6g}"


# ------------------------------------------------------------------ words


def _few(names: Sequence[str]) -> str:
    """The first of some names."""
    return first_few([shortened(name) for name in names], _MOST_NAMED)


def _remedy(data: Data) -> str:
    return "list it under ignore" if data.features else "leave it out"
