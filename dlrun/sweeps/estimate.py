"""Estimate how long a sweep trains by timing the first steps of each kind of run (`sweep --dry-run`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from dlrun.config.keys import Config
from dlrun.run_folders.records import Record
from dlrun.sweeps import timing
from dlrun.sweeps.planning import SweepPlan
from dlrun.sweeps.timing import takes_as_long
from dlrun.training.plan_making import make_plan

LONGEST_TRIAL = 2.0  # seconds for all timings together
MOST_TRIED = 8  # kinds of runs that are timed


@dataclass(frozen=True)
class Estimate:
    """The estimated seconds of a sweep (of a search at most), and which runs the estimate is based on."""

    runs: int
    answered: int  # runs whose place finished ones take
    jobs: int
    metric: str
    seconds: float
    tried: int  # settings that were timed

    def plain(self) -> dict[str, Any]:
        """The estimate as plain JSON content."""
        return asdict(self)


def estimate_time(prepared: SweepPlan, finished: Sequence[Record] = ()) -> Estimate:
    """Time a few steps of each kind of run, at most MOST_TRIED; `finished` as for `SweepPlan.make`."""
    every = zip(prepared.runs, prepared.answered(finished), strict=True)
    left = [config for (_, config), answer in every if answer is None]
    epochs, first = dict[str, int](), dict[str, Config]()
    for config in left:
        alike = takes_as_long(config)
        first.setdefault(alike, config)
        epochs[alike] = epochs.get(alike, 0) + config.epochs
    chosen = list(first)[:: max(1, -(-len(first) // MOST_TRIED))]
    plan, took = prepared.plan, dict[str, float]()
    for kind in chosen:
        of_kind = make_plan(first[kind], plan.parts, prepared.data_dir)
        same_data = of_kind.config.dataset == plan.config.dataset
        loaded = prepared.loaded if same_data else of_kind.load()
        took[kind] = timing.seconds_of_epoch(of_kind, loaded, LONGEST_TRIAL / len(chosen))
    usual = fmean(took.values()) if took else 0.0
    total = prepared.times * sum(took.get(kind, usual) * count for kind, count in epochs.items())
    runs = prepared.times * len(prepared.runs)
    answered = len(prepared.runs) - len(left)
    return Estimate(runs, answered, prepared.jobs, prepared.metric, total / prepared.jobs, len(chosen))
