"""spiral_relu beside other programs: what the choice of threads costs on a machine that others use too."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from benchmarks.measured import counted, machine, markdown, span
from benchmarks.noise import FIXED_WORK
from benchmarks.processes import Figures, figures, in_turn, middle, ratios, rounds_of, train
from benchmarks.sections import Goal

TITLE = "Beside other programs"
EPOCHS = 1000
CONFIGS = ("spiral_relu", "mnist_threenet")
WORDS = {
    "spiral_relu": (f"epochs={EPOCHS}", "plots=[]", "expect={}"),
    "mnist_threenet": (
        *("epochs=4", "evaluate_train_every=null", "monitor=train_loss", "plots=[]", "expect={}"),
    ),
}
SPIN = "while True: pass"
GOALS = [
    Goal(
        "spiral_relu beside a program on every core: dlrun / one thread on the idle machine",
        "≤",
        2.5,
        lambda m: ratios(m, "spiral_relu, busy", "spiral_relu, one thread", "loop_seconds"),
    ),
]


def measure(rounds: int) -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0))
    contestants = {}
    for config in CONFIGS:
        alone, auto = (
            partial(train, config, *WORDS[config], "threads=1"),
            partial(train, config, *WORDS[config]),
        )
        contestants[f"{config}, one thread"] = alone
        contestants[f"{config}, auto"] = auto
        contestants[f"{config}, beside one"] = partial(beside, 1, auto)
        contestants[f"{config}, busy"] = partial(beside, cores, auto)
        contestants[f"{config}, busy, one thread"] = partial(beside, cores, alone)
    kept = ("loop_seconds", "threads", FIXED_WORK)
    found = [
        {name: {figure: of_one[figure] for figure in kept} for name, of_one in each.items()}
        for each in in_turn(contestants, rounds)
    ]
    return {"machine": machine(), "cores": cores, "rounds": found}


def beside(programs: int, compete: partial[Figures]) -> Figures:
    """The figures of a contestant while so many other programs compute without pause."""
    with busy(programs):
        return compete()


@contextmanager
def busy(programs: int) -> Iterator[None]:
    """So many processes that compute without pause."""
    others = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(programs)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def table(measured: dict[str, Any]) -> list[str]:
    titles = {
        "one thread": "idle, `threads=1`",
        "auto": "idle, `threads: auto`",
        "beside one": "beside one program, `threads: auto`",
        "busy": f"beside {counted(measured['cores'], 'program')}, `threads: auto`",
        "busy, one thread": f"beside {counted(measured['cores'], 'program')}, `threads=1`",
    }
    rows = []
    for config in CONFIGS:
        for name, title in titles.items():
            whose = f"{config}, {name}"
            seconds = figures(measured, whose, "loop_seconds")
            by = sorted(ratios(measured, whose, f"{config}, one thread", "loop_seconds"))
            rows.append(
                [
                    f"`{config}`, {title}",
                    str(measured["rounds"][0][whose]["threads"]),
                    f"{span(min(seconds))} … {span(max(seconds))}",
                    span(middle(measured, whose, "loop_seconds")),
                    f"{by[0]:.2f} … {by[len(by) // 2]:.2f} … {by[-1]:.2f}",
                ]
            )
    return [
        f"The loops of {EPOCHS:,} epochs of `spiral_relu` and 4 of `mnist_threenet`, on an idle machine of "
        f"{counted(measured['cores'], 'core')} and while other programs compute without pause; "
        f"{rounds_of(measured)}. The last column is the time by that of one thread on the idle machine.",
        "",
        *markdown(("run", "threads", "loop", "median", "by one thread, idle"), rows),
    ]
