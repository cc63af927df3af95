"""Epochs of a shipped config in both layouts of images in memory, in turn in one process."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from benchmarks.contestants._report import say
from benchmarks.measured import PROJECT
from dlrun.config.loading import load_config
from dlrun.config.registry import Parts
from dlrun.training.loop import fit
from dlrun.training.plan_making import make_plan
from dlrun.training.recipe import Row

asked = argparse.ArgumentParser()
asked.add_argument("--config", required=True)
asked.add_argument("--examples", type=int, required=True)
asked.add_argument("--epochs", type=int, required=True)
asked.add_argument("--threads", type=int, default=1)
words = asked.parse_args()


def rows(layout: str) -> Iterator[Row]:
    """The rows of a training in a layout."""
    changes = [
        f"channels_last={str(layout == 'last').lower()}",
        f"limit={words.examples}",
        f"epochs={words.epochs + 1}",
        f"threads={words.threads}",
        *("device=cpu", "plots=[]", "expect={}", "expect_epochs=null"),
    ]
    config = load_config(PROJECT / "configs" / f"{words.config}.yaml", changes)
    plan = make_plan(config, Parts(), Path(os.environ.get("DLRUN_DATA", "data")))
    loaded = plan.load()
    hardware = plan.hardware(loaded)
    hardware.use()
    return fit(plan.state(hardware), loaded, plan.recipe, hardware)


trainings = {layout: rows(layout) for layout in ("usual", "last")}
epochs = []
for number in range(words.epochs + 1):
    pair: dict[str, float] = {}
    for layout in list(trainings)[:: 1 if number % 2 else -1]:
        started = perf_counter()
        next(trainings[layout])
        pair[layout] = perf_counter() - started
    if number:  # the first warms up
        epochs.append(pair)
say(epochs=epochs)
