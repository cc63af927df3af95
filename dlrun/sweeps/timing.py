"""Estimate the duration of an epoch from its first steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import fmean

from dlrun.config.keys import KEYS, Config
from dlrun.data.loaded import Loaded
from dlrun.training.loop import Batch, fit
from dlrun.training.opening import bring_teacher
from dlrun.training.plan import Plan


def takes_as_long(config: Config) -> str:
    """The config keys that an epoch's duration depends on, as text: not the learning rate, for example."""
    plain = {key: value for key, value in config.plain().items() if KEYS[key].is_timed}
    return repr([plain, config.optimizer.name, len(config.seeds)])


def seconds_of_epoch(plan: Plan, loaded: Loaded, longest: float) -> float:
    """Estimate the seconds of an epoch from the steps that fit into `longest` seconds, and an evaluation."""
    bring_teacher(plan, loaded.preprocessing)
    hardware = plan.hardware(loaded)
    hardware.use()
    of_step, of_rest = list[float](), list[float]()
    begun = ended = 0.0

    def few(batches: Iterator[Batch]) -> Iterator[Batch]:
        nonlocal begun, ended
        ended = time.monotonic()
        for batch in batches:
            yield batch
            of_step.append(time.monotonic() - ended)
            ended = time.monotonic()
            if len(of_step) == 1:  # the first step initialises what later ones reuse
                begun = ended
            elif ended > begun + longest:
                return

    for _ in fit(plan.state(hardware), loaded, plan.recipe, hardware, few):
        of_rest.append(time.monotonic() - ended)
        if time.monotonic() > begun + longest:
            break
    count = plan.recipe.sampling.steps(len(loaded["train"]))
    return count * fmean(of_step[1:] or of_step) + fmean(of_rest)
