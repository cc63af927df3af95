"""Folds of a table: its rows beside those of the test split, parted anew for cross-validation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from dlrun.data.composed import composed
from dlrun.data.folds import Fold, HashFolds, by_date, drawn_folds, refuse_uneven
from dlrun.data.hash_split import text_keys
from dlrun.data.placement import Placement, Rows
from dlrun.data.tabular.cells import Cells, in_order
from dlrun.data.tabular.encoding import TableOptions, different, places_of


def in_folds(
    cells: Cells, options: TableOptions, fold: Fold, rows: Rows, placement: Placement, *, is_placed: bool
) -> tuple[Rows, Placement]:
    """The rows of each split with a fold as the validation split, and the placement with the folds.

    The test split stays; `rows` of train and of valid are parted anew, by date where the split is
    chronological: what is later than the fold is in no split. Unless `is_placed`, the folds are fitted on
    them. Raises UserError for a fold without rows, or without a class.
    """
    pool = np.sort(np.concatenate([rows[name] for name in ("train", "valid") if name in rows]))
    own, rest = cells.take(pool), {name: some for name, some in rows.items() if name == "test"}
    splits = ("train", "valid", *rest)
    if options.is_chronological:
        assert own.date is not None, "this split is refused without dates"
        if not is_placed:
            kept = {name: date for name, date in placement.dates.items() if name == "test"}
            kept |= fold.dates(own.date.sort().values.tolist())
            placement = replace(placement, splits=splits, dates=kept)
        parted = by_date(own.date.numpy(), placement.dates)
        return {name: pool[some] for name, some in parted.items()} | rest, placement
    labels, classes = stratified(own, options)
    keys = keys_of(own, options)
    if is_placed and placement.folds:
        numbers = placement.folds.numbers(keys, classes, None if options.group else labels)
        return {name: pool[some] for name, some in fold.parted(numbers).items()} | rest, placement
    folds = None
    if options.group:
        folds = HashFolds.of_groups(keys, labels, seed=options.seed, count=fold.count)
        numbers = folds.numbers(keys, classes, None)
    elif options.split_rule == "drawn":
        numbers, keys = drawn_folds(len(pool), labels, fold.count, options.seed), torch.arange(len(pool))
    else:
        folds = HashFolds.fitted(keys, classes, labels, seed=options.seed, count=fold.count)
        numbers = folds.numbers(keys, classes, labels)
    refuse_uneven(numbers, keys, classes[:-1], labels, fold.count, cells.source)  # not for a missing one
    parted = {name: pool[some] for name, some in fold.parted(numbers).items()}
    return parted | rest, replace(placement, splits=splits, folds=folds)


def stratified(cells: Cells, options: TableOptions) -> tuple[Tensor | None, tuple[str, ...]]:
    """The numbers (n,) and the names of the classes that every part is to have in equal shares, if any."""
    name = options.stratify or (options.target if options.has_classes else None)
    if name is None:
        return None, ()
    column = cells.texts[name]
    names = in_order(different(column.present))
    assert column.codes is not None, "it was read as texts"
    place = places_of(names)
    places = np.array([*map(place, column.texts), len(names)], np.int64)  # a missing one is of no class
    return torch.from_numpy(places[column.codes]), (*names, "(missing)")


def keys_of(cells: Cells, options: TableOptions) -> Tensor:
    """The keys (n,) by which rows are placed: those of their group or id, or of what they hold."""
    if name := options.group or options.id:
        texts = cells.texts[name].cells()
        return text_keys(texts if options.keys_by == "cells" else map(composed, texts))
    assert cells.keys is not None, "rows of a table have keys"
    return cells.keys
