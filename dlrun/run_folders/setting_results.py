"""The result of one setting: the figure of each of its seeds, and of each fold of a cross-validation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from dlrun.config.keys import FOLDS
from dlrun.run_folders.run import Run
from dlrun.run_folders.significance import Difference, Replicate


@dataclass
class SettingResult:
    """The finished runs of one setting, and the figure of each of their seeds, or folds and seeds."""

    setting: dict[str, Any]
    runs: list[Run] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # of these runs
    values: dict[Replicate, float] = field(default_factory=dict)
    held_out: list[float] = field(default_factory=list)  # of each run, the examples of a fold per other one
    diverged: list[str] = field(default_factory=list)  # names of runs that diverged
    begun: set[Replicate] = field(default_factory=set)  # the seeds of runs that are not finished
    shown: dict[str, Any] = field(default_factory=dict)  # the keys that differ from other settings
    beside: Difference | None = None  # from the reference; None for the reference itself
    is_apart: bool = False  # not compared with the reference, which has other folds
    asked: dict[str, Any] | None = None  # the values that a sweep set in it

    @property
    def every_name(self) -> list[str]:
        """The names of its runs, those that diverged behind the others."""
        return self.names + self.diverged

    @property
    def is_whole(self) -> bool:
        """True if every one of its seeds has a result."""
        return not self.diverged and self.begun <= self.values.keys()

    @property
    def mean(self) -> float:
        return fmean(self.values.values()) if self.values else math.nan

    @property
    def folds(self) -> int | None:
        """The number of folds that the data are parted into; None for no cross-validation."""
        folds = self.setting.get(FOLDS)
        return folds if isinstance(folds, int) else None

    @property
    def over(self) -> tuple[int, int]:
        """The numbers of folds and of seeds that have a figure; without folds there is one."""
        keys = [key if isinstance(key, tuple) else (0, key) for key in self.values]
        return len({fold for fold, _ in keys}), len({seed for _, seed in keys})

    @property
    def sd(self) -> float | None:
        """The standard deviation over seeds and folds; None for fewer than two figures."""
        return stdev(self.values.values()) if len(self.values) > 1 else None


def said_replicate(key: Replicate) -> str:
    """A seed, or a fold and a seed, in words."""
    return f"fold {key[0]}, seed {key[1]}" if isinstance(key, tuple) else str(key)


def in_order(entry: tuple[Replicate, Any]) -> tuple[int, int]:
    """The fold and the seed of an entry, by which entries are sorted."""
    return entry[0] if isinstance(entry[0], tuple) else (0, entry[0])
