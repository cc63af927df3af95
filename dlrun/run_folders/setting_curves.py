"""The figures of a setting over the epochs: each column of all its runs, seeds and folds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from dlrun.run_folders.records import read_record
from dlrun.run_folders.setting_results import SettingResult
from dlrun.run_folders.significance import Replicate


class RunRows(NamedTuple):
    """The columns of a run's metrics.csv, and the fold that it held out, if one."""

    fold: int | None
    columns: dict[str, list[Any]]


def rows_of(group: SettingResult) -> list[RunRows]:
    """The rows of each run of a setting. Raises UserError if a metrics.csv is damaged."""
    return [RunRows(read_record(run).fold if group.folds else None, run.rows()) for run in group.runs]


def over_epochs(
    group: SettingResult, runs: Sequence[RunRows], column: str, *, is_last: bool = True
) -> tuple[list[int], list[list[float]]]:
    """The epochs (n,) at which a column was measured for every seed, and its figures (n, seeds).

    With `is_last` the group's own figures, which are of this column, are those after the last epoch: a column
    that is measured only then has just that one.
    """
    of_seeds: dict[Replicate, dict[int, float]] = {}
    ends = {max(columns.get("epoch", ()), default=0) for _, columns in runs}
    for fold, columns in runs:
        for epoch, seed, value in zip(
            columns.get("epoch", ()), columns.get("seed", ()), columns.get(column, ()), strict=False
        ):
            key = seed if fold is None else (fold, seed)
            if key in group.values and value is not None and math.isfinite(value):
                of_seeds.setdefault(key, {})[epoch] = value
    stopped = {len({*map(max, of_seeds.values())}) > 1} if of_seeds else {False}
    if is_last and len(ends) == 1 and stopped == {False}:
        for key, value in group.values.items():
            of_seeds.setdefault(key, {}).setdefault(max(ends), value)
    shared = sorted(set.intersection(*map(set, of_seeds.values()))) if of_seeds else []
    return shared, [[by_epoch[epoch] for by_epoch in of_seeds.values()] for epoch in shared]
