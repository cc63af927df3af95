"""TableOptions: the options of a table dataset. Encoding: how its rows become inputs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from dlrun.data.texts import distinct_texts
from dlrun.errors import UserError

Cycle = Literal["year", "week", "day"]
_TARGET_HAS_CLASSES = {"classification": True, "regression": False}


@dataclass(frozen=True)
class TableOptions:
    """The options of a table dataset (documented in `dlrun.dataset.csv.csv`)."""

    target: str
    task: Literal["classification", "regression"] = "regression"
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
    def has_classes(self) -> bool:
        """True if the cells of the target name classes, False if they are numbers."""
        return _TARGET_HAS_CLASSES[self.task]

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns whose cells are texts."""
        return (*self.categorical, *[self.target] * self.has_classes)

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train", *["valid"] * bool(self.valid_fraction), *["test"] * bool(self.test_fraction))


@dataclass(frozen=True)
class Encoding:
    """The encoding of rows as inputs, fitted on the training rows; the preprocessing comes after it."""

    columns: tuple[str, ...]  # numbers and categories, in the order of the file
    categories: Mapping[str, tuple[str, ...]]
    classes: tuple[str, ...]
    scaling: tuple[float, float] | None  # mean and standard deviation of the target; None if it is constant
    fills: bool  # True if the preprocessing holds replacements for missing numbers

    @classmethod
    def remembered(cls, known: Mapping[str, Any]) -> Encoding:
        """The encoding stored in a checkpoint. Raises ValueError, TypeError or KeyError if malformed."""
        columns, categories = distinct_texts(known["columns"]), known["categories"]
        if not isinstance(categories, dict) or not categories.keys() <= set(columns):
            raise ValueError("the stored columns and categories contradict each other")
        scaling = remembered_scaling(known["scaling"])
        values = {column: distinct_texts(categories[column]) for column in columns if column in categories}
        return cls(columns, values, distinct_texts(known["classes"]), scaling, known["fills"] is True)

    def known(self) -> dict[str, Any]:
        """The encoding as plain values, for a checkpoint."""
        return {
            "columns": list(self.columns),
            "categories": {column: list(values) for column, values in self.categories.items()},
            "classes": list(self.classes),
            "scaling": list(self.scaling) if self.scaling else None,
            "fills": self.fills,
        }

    def features(self, options: TableOptions) -> tuple[str, ...]:
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

    def are_numbers(self, options: TableOptions) -> Tensor:
        """A mask (features,): True for inputs that are numbers of the table, not categories or cycles."""
        found: list[bool] = []
        for column in self.columns:
            found += [False] * len(self.categories[column]) if column in self.categories else [True]
        return torch.tensor(found + [False, False] * len(options.date_cycles))


def remembered_scaling(value: Any) -> tuple[float, float] | None:
    """The mean and standard deviation in a checkpoint. Raises ValueError or TypeError if malformed."""
    if value is None:
        return None
    mean, deviation = map(float, value)
    if not (math.isfinite(mean) and 0 < deviation < math.inf):
        raise ValueError("the stored mean and standard deviation are invalid")
    return mean, deviation
