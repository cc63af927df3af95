"""A quick run: all that a config asks for, with two batches, to find what would fail before it takes long."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from dlrun.config.dumping import dump_config
from dlrun.config.keys import Config
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.data.loaded import Loaded
from dlrun.run_folders.locating import create_run
from dlrun.system.progress import Progress, no_progress
from dlrun.training.evaluation import evaluate_run
from dlrun.training.experiment import train_run
from dlrun.training.opening import open_checkpoint
from dlrun.training.plan import Plan
from dlrun.training.plan_making import make_plan
from dlrun.training.plan_trials import try_on
from dlrun.training.views import TrainingView

_BATCHES = 2
_FEWEST = 500  # examples of each split, so that a rare class has some


@dataclass(frozen=True)
class Quick:
    """The parts of a run that a quick one went through without a failure."""

    steps: int
    evaluated: str  # the split
    pictures: int
    seconds: float


def quick_run(
    config: Config,
    parts: Parts,
    data_dir: Path,
    folder: Path,
    view: TrainingView,
    progress: Progress = no_progress,
) -> Quick:
    """Train two batches of a config, evaluate, save, draw, and evaluate the checkpoint, all in a folder.

    Raises what would end the run itself.
    """
    started = time.monotonic()
    plan = make_plan(_in_small(config), parts, data_dir)
    loaded = _loaded(plan, config, progress)
    try_on(plan, loaded, progress)
    run = create_run(folder, config.name, dump_config(plan.config))
    ended = train_run(plan, run, view, loaded=loaded, stop_after=1)
    split = plan.recipe.evaluation_split or "train"
    trained, saved = open_checkpoint(run.best, run, (), parts, data_dir)
    evaluate_run(trained, saved, run.best, split)
    steps = plan.recipe.sampling.steps(len(loaded["train"]))
    return Quick(steps, split, len(ended.summary["pictures"]), time.monotonic() - started)


def _loaded(plan: Plan, whole: Config, progress: Progress) -> Loaded:
    """The few examples of a plan, with the classes balanced by those of the `whole` config if one has none.

    Raises ConfigError for a class without an example among all of them.
    """
    try:
        return plan.load(progress=progress)
    except ConfigError:  # perhaps only because a rare class is not among the few
        counted = make_plan(whole, plan.parts, plan.data_dir)
        counted.load(progress=progress)
    if plan.loss.class_weights and counted.loss.class_weights:
        plan.loss.class_weights.restore(counted.loss.class_weights.values)
    return plan.load(progress=progress)


def _in_small(config: Config) -> Config:
    """The config with so few examples that an epoch is two batches, without claims and trackers."""
    small = replace(config, expect={}, not_judged={}, max_time=None, track=[])
    if config.batch_size == "full":
        several = _BATCHES * (config.micro_batch or 0)  # pieces
        return replace(small, limit=_smaller(config.limit, max(several, _FEWEST)))
    wanted = _BATCHES * config.batch_size
    few = min(wanted, config.epoch_examples or wanted)
    return replace(small, epoch_examples=few, limit=_smaller(config.limit, max(wanted, _FEWEST)))


def _smaller(limit: float | None, most: int) -> float | None:
    """The limit that the config has, if it is a number of examples below `most`, else that."""
    return min(limit, most) if isinstance(limit, int) else most
