"""`dlrun reproduce`: train a run again from its folder and compare the figures with the recorded ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from dlrun.config.data_paths import moved_data, say_where
from dlrun.config.dumping import dump_config
from dlrun.config.keys import DATA_PATH
from dlrun.config.loading import load_run_config
from dlrun.config.registry import Parts
from dlrun.errors import Diverged, UserError, shortened
from dlrun.run_folders.differences import Differences, differences_between, table
from dlrun.run_folders.locating import create_run
from dlrun.run_folders.records import Record, at, read_record
from dlrun.run_folders.run import Run
from dlrun.system import machine
from dlrun.system.progress import Progress, no_progress
from dlrun.training.experiment import train_run
from dlrun.training.plan_making import make_plan
from dlrun.training.plan_trials import try_on
from dlrun.training.trained_on import judging, told_apart
from dlrun.training.views import TrainingView

Verdict = Literal["bit-identical", "within tolerance", "drifted", "interrupted"]
# Differences that are results of the second training, not causes of a drift.
_RESULTS = ("epochs done", "status")


@dataclass(frozen=True)
class Reproduction:
    """A run compared with its repetition. `apart`: column -> the largest relative difference of any seed, in
    the last row or in the final figures.
    """

    differences: Differences
    apart: dict[str, float]
    tolerance: float
    missing: str = ""  # the recorded columns or rows that the repetition lacks
    signal: int | None = None  # the signal that interrupted the repetition

    @property
    def verdict(self) -> Verdict:
        """The verdict: bit-identical, within tolerance, drifted or interrupted."""
        if self.signal:
            return "interrupted"
        if self.missing:
            return "drifted"
        if self.differences.parting.epoch is None and not any(self.apart.values()):
            return "bit-identical"
        return "within tolerance" if max(self.apart.values(), default=0) <= self.tolerance else "drifted"

    @property
    def why(self) -> str:
        """A sentence that gives the reason for the verdict, and the likely causes of a drift."""
        verdict, words = self.verdict, []
        if self.missing:
            words.append(self.missing)
        elif any(self.apart.values()):
            column, share = max(self.apart.items(), key=lambda each: each[1])
            apart = f"up to {share:.2%} apart" if math.isfinite(share) else "apart"
            words.append(f"the last figures are {apart}, {column} the most (tolerance {self.tolerance:g})")
        if verdict == "drifted":
            changed = [name for name in self.differences.surroundings if name not in _RESULTS]
            words.append(
                f"changed: {', '.join(changed)}" if changed else "nothing that is recorded has changed"
            )
        return "; ".join(words)

    def plain(self) -> dict[str, Any]:
        """The comparison as plain JSON content."""
        more = {"verdict": self.verdict, "why": self.why, "apart": self.apart, "tolerance": self.tolerance}
        return more | self.differences.plain()


def reproduce_run(
    run: Run,
    parent: Path,
    tolerance: float,
    parts: Parts,
    data_dir: Path,
    view: TrainingView,
    progress: Progress = no_progress,
    overrides: Sequence[str] = (),
) -> Reproduction:
    """Train a run's config in a new folder for as many epochs as it was trained, and compare every row.

    It uses the recorded number of threads, if there are as many cores. `overrides` may say where the data
    are now. Raises UserError if the run has no rows to compare with, if data that have moved are others, and
    the errors of training.
    """
    if others := [key for key in (text.partition("=")[0] for text in overrides) if key != DATA_PATH]:
        what = f"{shortened(others[0])} cannot be changed: a run is reproduced as it was"
        raise UserError(what, where="command line", fix=f"only {DATA_PATH}=… may be given")
    record = read_record(run)
    epochs = record.summary.get("epochs")
    if run.status(record.summary) == "running":
        raise UserError(f"{run.name} is still training", where=str(run.folder), fix="wait until it is done")
    if not isinstance(epochs, int) or not epochs or not table(run.rows()):
        raise UserError(f"{run.name} has no rows to compare with", where=str(run.metrics))
    threads = record.summary.get("threads")
    words = [f"threads={min(threads, machine.cores())}"] if isinstance(threads, int) and threads > 0 else []
    # As many epochs are trained, however long they take, and trackers have the run already.
    words += ["max_time=null", "track=[]"]
    config = load_run_config(run.config, [*words, *overrides], parts)
    plan = make_plan(config, parts, data_dir)
    loaded = plan.load(progress=progress)
    recorded = at(record.summary, "data", "fingerprint")
    is_elsewhere = bool(overrides or moved_data(plan.config))
    if is_elsewhere and recorded and recorded != loaded.fingerprint:
        path = plan.config.dataset.options.get("path")
        what = f"the content of {path} is not that of training"
        fix = "name the data that it was trained on"
        if not overrides:
            fix = say_where()
        elif plan.data.read_labelled:
            fix += f", or judge all examples of these: {judging(path, str(run.folder))}"
        what = f"{what}: {told_apart(loaded.fingerprint, recorded)}"
        raise UserError(what, where=DATA_PATH if overrides else str(run.config), fix=fix)
    try_on(plan, loaded, progress, is_new=False)
    again = create_run(parent, config.name, dump_config(plan.config))
    signal = None
    try:
        ended = train_run(plan, again, view, loaded=loaded, stop_after=epochs, progress=progress)
        signal = ended.summary.get("signal") if ended.summary["epochs"] < epochs else None
    except Diverged:  # the recorded run did not diverge, so this counts as a drift
        pass
    other = read_record(again)
    found = differences_between(record, other)
    # They were chosen above. If the threads or the data's fingerprint differ, `surroundings` shows it.
    chosen = ("threads", "max_time", "dataset.path")
    settings = {key: values for key, values in found.settings.items() if key not in chosen}
    found = replace(found, settings=settings)
    return Reproduction(found, _apart(record, other), tolerance, _missing(record, other), signal)


def _apart(first: Record, second: Record) -> dict[str, float]:
    """Column -> the largest relative difference between two runs: in the last row that both have, and in
    the final figures if both ended at the same epoch.
    """
    a, b = table(first.run.rows()), table(second.run.rows())
    last = max((epoch for epoch, _ in a.keys() & b.keys()), default=0)
    pairs = [
        (column, x, b[place].get(column))
        for place in a.keys() & b.keys()
        if place[0] == last
        for column, x in a[place].items()
    ]
    if first.summary.get("epochs") == second.summary.get("epochs"):
        for column in (name for name in first.columns() if name != "seconds"):
            others = second.of_seeds(column)
            pairs += [(column, x, others.get(seed)) for seed, x in first.of_seeds(column).items()]
    found: dict[str, float] = {}
    for column, x, y in pairs:
        if x is not None and y is not None:
            found[column] = max(found.get(column, 0.0), _share(x, y))
    return found


def _share(x: float, y: float) -> float:
    """The difference of two figures relative to the larger one; infinite if only one is finite."""
    if repr(x) == repr(y):
        return 0.0
    if not (math.isfinite(x) and math.isfinite(y)):
        return math.inf
    size = max(abs(x), abs(y))
    return abs(x / size - y / size) if size else 0.0


def _missing(first: Record, second: Record) -> str:
    """A phrase that names what a run recorded and its repetition did not; "" if nothing."""
    a, b = table(first.run.rows()), table(second.run.rows())
    left = sorted(a.keys() - b.keys())
    if left:
        return f"epoch {left[0][0]} of seed {left[0][1]} was not trained again"
    for place, figures in a.items():
        for column, value in figures.items():
            if value is not None and b[place].get(column) is None:
                return f"{column} of epoch {place[0]} was not measured again"
    return ""
