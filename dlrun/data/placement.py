"""Placement: what places the rows of a table in splits, by a hash, by their date or by a column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from dlrun.data.folds import LATER, HashFolds
from dlrun.data.hash_split import HashSplit

OPEN, SPLITS = -1, ("train", "valid", "test")  # the numbers of splits in an array
Rows = dict[str, np.ndarray]  # split -> its rows (m,)
# The names that a split may have in a column or as a folder, in lower case.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}


_Of = TypeVar("_Of")


def in_split_order(found: Mapping[str, _Of]) -> dict[str, _Of]:
    """The entry of each split, in the order train, valid, test, and then others."""
    return {name: found[name] for name in dict.fromkeys([*SPLITS, *found]) if name in found}


@dataclass(frozen=True)
class Placement:
    """The splits of a table, and what places rows in them.

    Rows of a date from `dates[split]` on, in seconds since 1970, are in that split; from `dates["later"]` on
    they are in later folds, and in no split. Rows that no column and no date places are placed `by_hash`.
    Without either they are drawn, as by an earlier dlrun. With `folds`, these part anew what is not of test.
    """

    splits: tuple[str, ...]
    by_hash: HashSplit | None = None
    dates: Mapping[str, int] = field(default_factory=dict)
    folds: HashFolds | None = None

    @classmethod
    def remembered(cls, known: Mapping[str, Any]) -> Placement:
        """The placement in a checkpoint. Raises ValueError, TypeError or KeyError if it is malformed."""
        splits, dates = tuple(known["splits"]), dict(known["dates"])
        if not set(splits) <= {*SPLITS} or "train" not in splits:
            raise ValueError("the stored splits have other names")
        if not dates.keys() <= {"valid", LATER, "test"} or not all(
            type(date) is int for date in dates.values()
        ):
            raise ValueError("the stored dates of splits are malformed")
        by_hash, folds = known["by_hash"], known.get("folds")
        return cls(
            splits,
            None if by_hash is None else HashSplit.remembered(by_hash),
            dates,
            None if folds is None else HashFolds.remembered(folds),
        )

    def known(self) -> dict[str, Any]:
        """The placement as plain values, for a checkpoint."""
        return {
            "splits": list(self.splits),
            "by_hash": self.by_hash.known() if self.by_hash else None,
            "dates": dict(self.dates),
        } | ({"folds": self.folds.known()} if self.folds else {})
