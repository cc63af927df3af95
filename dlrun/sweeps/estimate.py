"""About how long a sweep trains, from the first steps of its kinds of runs."""

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
from dlrun.training.plan import make_plan

LONGEST_TRIAL = 2.0  # seconds that a look at the speed of all may take
MOST_TRIED = 8  # kinds of runs


@dataclass(frozen=True)
class Estimate:
    """About how many seconds a sweep trains, a search at most, from the first steps of some of its runs."""

    runs: int
    answered: int  # of the runs, by finished ones
    jobs: int
    metric: str
    seconds: float
    tried: int  # settings

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def estimate_time(prepared: SweepPlan, finished: Sequence[Record] = ()) -> Estimate:
    """Time a few steps of each kind of run, of many kinds those of some; `finished` as for `make`."""
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
