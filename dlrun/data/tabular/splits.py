"""Splits of a table: which of its rows are for training, which for validation and which for the test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from dlrun.data.examples import NO_VALID, Examples
from dlrun.data.folds import LATER, starts_of
from dlrun.data.hash_split import HashSplit
from dlrun.data.hold_out import carve
from dlrun.data.placement import OPEN, SPLIT_NAMES, SPLITS, Placement, Rows
from dlrun.data.tabular.cells import Cells, in_order
from dlrun.data.tabular.column_kinds import instead_of_an_id
from dlrun.data.tabular.dates import said_dates
from dlrun.data.tabular.encoding import TableOptions, different
from dlrun.data.tabular.row_folds import in_folds, keys_of, stratified
from dlrun.data.trees import single
from dlrun.errors import UserError, shortened

_FEWEST_WITH_VALID = 20  # rows: a tenth of fewer tells nothing
_FEWEST = 2  # rows in a split


def rows_of_splits(
    cells: Cells,
    options: TableOptions,
    total: int,
    notes: list[str],
    before: Placement | None = None,
) -> tuple[Rows, Placement]:
    """The rows of each split, chosen among the remaining ones of `total`, and what placed them.

    By the placement `before` of a checkpoint, none is in another split than it was. In a chronological split
    the last rows are the test split, those before the validation split.
    """
    fold = options.fold
    if options.split_rule == "drawn":
        rows = _by_date(cells, options) if options.is_chronological else _drawn(cells, options)
        rows, placement = {name: rows[name] for name in options.splits}, Placement(options.splits)
    else:
        stated = _stated(cells, options)
        placement = before or _fitted(cells, options, stated, [] if fold else notes)
        rows = _placed(cells, options, stated, placement)
        notes += _said_lost(stated, options, placement)
        if placement.by_hash and not before and not fold:
            why = f"{'rows of a group' if options.group else 'equal rows'} stand together"
            why += ", and each class has some" * options.has_classes
            notes += (f"{said}: {why}" for said in _other_shares(rows, placement.by_hash))
        if fold and not before and (count := int((stated == SPLITS.index("valid")).sum())):
            where = options.split_column or "valid_path"
            notes.append(
                f"{count:,} valid row{'s' * (count > 1)} of {where} are parted into folds as all others"
            )
    if fold:
        rows, placement = in_folds(cells, options, fold, rows, placement, is_placed=before is not None)
    for name, some in rows.items():
        if len(some) < _FEWEST:
            n = len(cells)
            said = f"{n:,} row{'s' * (n > 1)}" + (f" left of {total:,}" if n < total else "")
            classes = different(cells.texts[options.target].present) if options.has_classes else ()
            if classes:
                said += f" in {len(classes):,} classes"
            what = f"of {said} the {name} split gets {len(some)}, but needs {_FEWEST}"
            fix = f"add rows, or {'take fewer folds' if fold else 'change test_fraction or valid_fraction'}"
            if placement.by_hash and len(keys_of(cells, options).unique()) < len(cells):
                what += "; equal rows stand together"
                fix += "" if options.group else ", or set split_rule: drawn"
            raise UserError(what, where=cells.source, fix=instead_of_an_id(classes, n) or fix)
    return rows, placement


def _fitted(cells: Cells, options: TableOptions, stated: np.ndarray, notes: list[str]) -> Placement:
    """The placement of rows by the options of their table; `stated` (n,) are numbers of splits, or OPEN."""
    there = {SPLITS[number] for number in np.unique(stated).tolist() if number != OPEN}
    are_open = stated <= 0  # for training, or not stated
    test = 0.0 if there else options.test_fraction
    valid = 0.0 if "valid" in there else options.valid_fraction
    if valid and are_open.sum() < _FEWEST_WITH_VALID:
        notes.append(f"{are_open.sum():,} rows are too few for a validation split")
        valid = 0.0
    there |= {name for name, fraction in (("valid", valid), ("test", test)) if fraction}
    splits = ("train", *(name for name in ("valid", "test") if name in there))
    own = cells.take(np.flatnonzero(are_open))
    if options.is_chronological:
        assert own.date is not None, "this split is refused without dates"
        dates = own.date.sort().values.tolist()
        borders, (start, end) = {}, _starts(dates, valid, test)
        if test and end < len(dates):
            borders["test"] = dates[end]
        if valid and start < end:
            borders["valid"] = dates[start]
        elif valid:
            notes.append(f"{NO_VALID}, for too few dates differ")
            splits = tuple(name for name in splits if name != "valid")
        return Placement(splits, None, borders)
    if not (test or valid):
        return Placement(splits)
    labels, classes = _classes(own, options)
    keys, least = keys_of(own, options), 1 if classes else _FEWEST
    fit = partial(HashSplit.fitted, keys, classes, labels, seed=options.seed, test_fraction=test, least=least)
    fitted = fit(valid_fraction=valid)
    if valid and len(fitted.rows(keys, classes, labels)["valid"]) < _FEWEST:
        notes.append(f"{NO_VALID}, for too few rows differ, and equal ones stand together")
        return Placement(tuple(name for name in splits if name != "valid"), fit(valid_fraction=0.0))
    return Placement(splits, fitted)


def _other_shares(rows: Rows, by_hash: HashSplit) -> list[str]:
    """The splits that have less than half, or more than twice, of what their fractions say."""
    found, left = [], sum(map(len, rows.values()))
    for name, fraction in (("test", by_hash.test_fraction), ("valid", by_hash.valid_fraction)):
        have, wanted = len(rows.get(name, ())) if fraction else 0, fraction * left
        if not wanted / 2 - 1 <= have <= 2 * wanted + 1:
            found.append(f"the {name} split has {have:,} of {left:,} rows where {wanted:,.0f} were wanted")
        left -= have
    return found


def _placed(cells: Cells, options: TableOptions, stated: np.ndarray, placement: Placement) -> Rows:
    """The rows of each split of a placement."""
    found = np.maximum(stated, 0)
    are_open = np.flatnonzero(found == 0)
    if placement.dates:
        assert cells.date is not None, "this placement is refused without dates"
        dates = cells.date.numpy()[are_open]
        for name in ("valid", "test"):  # in the order of time
            if name in placement.dates:
                found[are_open[dates >= placement.dates[name]]] = SPLITS.index(name)
    elif placement.by_hash:
        own = cells.take(are_open)
        labels, classes = _classes(own, options)
        for name, some in placement.by_hash.rows(keys_of(own, options), classes, labels).items():
            found[are_open[some.numpy()]] = SPLITS.index(name)
    return {name: np.flatnonzero(found == SPLITS.index(name)) for name in placement.splits}


def said_borders(placement: Placement, options: TableOptions) -> list[str]:
    """A note on the dates from which on rows are in the other splits, if dates place them."""
    words = {"valid": "valid", LATER: "later folds, which are left out,", "test": "test"}
    names = [name for name in words if name in placement.dates]
    dates = said_dates(torch.tensor([placement.dates[name] for name in names])) if names else []
    said = ", ".join(f"{words[name]} from {date} on" for name, date in zip(names, dates, strict=True))
    return [f"split by {', '.join(options.date)}: {said}"] if names else []


def _said_lost(stated: np.ndarray, options: TableOptions, placement: Placement) -> Iterator[str]:
    """Yield how many rows are stated to be of a split that a placement lacks, and are in none."""
    for name in SPLITS:
        if name not in placement.splits and (count := int((stated == SPLITS.index(name)).sum())):
            where = options.split_column or f"{name}_path"
            rows = (
                f"{count:,} {name} row{'s' * (count > 1)} of {where} {'are' if count > 1 else 'is'} left out"
            )
            yield f"{rows}: the model was trained without a {name} split"


def _stated(cells: Cells, options: TableOptions) -> np.ndarray:
    """The number (n,) int8 of the split that a column or the file of a row states for it, or OPEN."""
    if options.split_column is None:
        return np.full(len(cells), OPEN, np.int8) if cells.parts is None else cells.parts
    column = cells.texts[options.split_column]
    names = [SPLIT_NAMES.get(text.lower(), "") for text in column.texts]
    if unknown := [text for text, name in zip(column.texts, names, strict=True) if not name]:
        what = f"{options.split_column} holds {shortened(unknown[0])!r}, but says in which split a row is"
        raise UserError(what, where=cells.source, fix="write train, valid or test there")
    assert column.codes is not None, "it was read as texts"
    numbers = np.array([*map(SPLITS.index, names), OPEN], np.int8)
    stated: np.ndarray = numbers[column.codes]
    return stated


def _classes(cells: Cells, options: TableOptions) -> tuple[Tensor | None, tuple[str, ...]]:
    """The classes by which rows are parted (see `stratified`), unless whole groups are."""
    return (None, ()) if options.group else stratified(cells, options)


def _by_date(cells: Cells, options: TableOptions) -> Rows:
    """The rows of each split in the order of time, as an earlier dlrun chose them."""
    assert cells.date is not None, "this split is refused without dates"
    order = cells.date.argsort(stable=True)
    valid, test = _starts(cells.date[order].tolist(), options.valid_fraction, options.test_fraction)
    places = order.numpy()
    return {"train": places[:valid], "valid": places[valid:test], "test": places[test:]}


def _drawn(cells: Cells, options: TableOptions) -> Rows:
    """The rows of each split drawn by the seed, as an earlier dlrun did: they change with every new row."""
    n = len(cells)
    labels = torch.zeros(n, dtype=torch.long)
    if options.has_classes:
        names = in_order(cells.texts[options.target].texts)
        places = {name: place for place, name in enumerate(names)}
        labels = torch.tensor([places.get(text, -1) for text in cells.texts[options.target].cells()])
    everything = Examples(torch.arange(n), labels)
    rest, test = carve(everything, options.test_fraction, options.seed, by_class=options.has_classes)
    train, valid = carve(rest, options.valid_fraction, options.seed, by_class=options.has_classes)
    parts = {"train": train, "valid": valid, "test": test}
    return {name: single(part.inputs).numpy() for name, part in parts.items()}


def _starts(dates: Sequence[int], valid: float, test: float) -> tuple[int, int]:
    """The places among sorted dates from which on rows are for validation, and for the test."""
    [end] = starts_of(dates, [len(dates) - round(test * len(dates))])
    return starts_of(dates, [end - round(valid * end)])[0], end
