"""A run trained once more from its own folder, and how near the figures come to those that it recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dlrun import compare, diff, experiment, runs
from dlrun import config as configs
from dlrun.components import Parts
from dlrun.data import Watching, unwatched
from dlrun.diff import Differences
from dlrun.errors import UserError
from dlrun.experiment import View
from dlrun.hardware import cores
from dlrun.plan import make_plan
from dlrun.runs import Run

Verdict = Literal["bit-identical", "within tolerance", "drifted"]


@dataclass(frozen=True)
class Reproduction:
    """A run beside itself trained again. `apart` is column -> the largest relative difference of any seed in
    the last row.
    """

    differences: Differences
    apart: dict[str, float]
    tolerance: float

    @property
    def verdict(self) -> Verdict:
        """How near it came."""
        if self.differences.parting.epoch is None:
            return "bit-identical"
        return "within tolerance" if max(self.apart.values()) <= self.tolerance else "drifted"

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        more = {"verdict": self.verdict, "apart": self.apart, "tolerance": self.tolerance}
        return more | self.differences.plain()


def reproduce(
    run: Run,
    parent: Path,
    tolerance: float,
    parts: Parts,
    data_dir: Path,
    view: View,
    watching: Watching = unwatched,
) -> Reproduction:
    """Train a run's config in a new folder for the epochs that it was trained, and compare every row.

    The number of threads is the one it had, as far as there are cores. Raises UserError where the run has
    no rows to compare with, and what training raises.
    """
    said = compare.read(run)
    epochs = said.summary.get("epochs")
    if not isinstance(epochs, int) or not epochs or not run.has_rows():
        raise UserError(f"{run.name} has no rows to compare with", where=str(run.metrics))
    threads = said.summary.get("threads")
    words = [f"threads={min(threads, cores())}"] if isinstance(threads, int) and threads > 0 else []
    config = configs.load(run.config, words, parts)
    plan = make_plan(config, parts, data_dir)
    loaded = plan.load(watching=watching)
    plan.try_on(loaded)
    again = runs.create(parent, config.name, configs.dump(config))
    experiment.resume(plan, again, view, loaded=loaded, stop_after=epochs, watching=watching)
    other = compare.read(again)
    return Reproduction(diff.between(said, other), _apart(run, again), tolerance)


def _apart(first: Run, second: Run) -> dict[str, float]:
    """Column -> how far the last rows that both have are apart, relative to the larger figure, at most."""
    a, b = diff.table(first.rows()), diff.table(second.rows())
    last = max((epoch for epoch, _ in a.keys() & b.keys()), default=0)
    found: dict[str, float] = {}
    for place in (place for place in a.keys() & b.keys() if place[0] == last):
        for column, x in a[place].items():
            y = b[place].get(column)
            if x is not None and y is not None:
                size = max(abs(x), abs(y))
                found[column] = max(found.get(column, 0.0), abs(x - y) / size if size else 0.0)
    return found
