"""A run of 100,000 epochs of one small step: what an epoch and a save cost at its beginning and its end."""

from __future__ import annotations

import json
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measured import counted, machine, markdown, size, span
from benchmarks.processes import in_turn, run
from benchmarks.sections import Goal

TITLE = "A run of 100,000 epochs"
EPOCHS = 100_000
STRETCH = 1000  # epochs
STRETCHES = 10  # at each end, after the first, which is the warm-up
WORDS = (
    "spiral_relu",
    "dataset.points=100",
    "architecture.hidden=[10]",
    "evaluate_every=1000",
    "plots=[]",
    "expect={}",
)
GOALS = [
    Goal(
        f"{EPOCHS:,} epochs: {STRETCH:,} at the end / {STRETCH:,} at the beginning",
        "≤",
        1.1,
        lambda m: [found["late"] / found["early"] for found in runs(m)],
    ),
]


def measure(rounds: int) -> dict[str, Any]:
    found = list(in_turn({"dlrun": partial(long_run, EPOCHS)}, rounds))
    return {"machine": machine(), "rounds": found}


def long_run(epochs: int) -> dict[str, Any]:
    """Early and late: the seconds between rows STRETCH epochs apart, the seconds and bytes of a save."""
    timed = dlrun_timed("train", *WORDS, f"epochs={epochs}")
    at = [second for _, second in timed["rows"]]
    stretches = [after - before for before, after in pairwise(at)]
    saves = [(seconds, size) for epoch, _, seconds, size in timed["saves"] if 0 < epoch < epochs]
    third = max(1, len(saves) // 3)
    return {
        "early": median(stretches[:STRETCHES]),
        "late": median(stretches[-STRETCHES:]),
        "first": stretches[0],
        "last": stretches[-1],
        "saves": len(saves),
        "early_save": mean(seconds for seconds, _ in saves[:third]),
        "late_save": mean(seconds for seconds, _ in saves[-third:]),
        "early_bytes": saves[0][1],
        "late_bytes": saves[-1][1],
    }


def dlrun_timed(*words: str) -> dict[str, Any]:
    """A training of dlrun into a pipe, with a clock beside what it keeps: see contestants/dlrun_timed.py."""
    with TemporaryDirectory() as folder:
        clock = Path(folder) / "clock.json"
        program = [sys.executable, "-m", "benchmarks.contestants.dlrun_timed", str(clock)]
        run([*program, *words, "--runs-dir", str(Path(folder) / "runs")])
        found: dict[str, Any] = json.loads(clock.read_text(encoding="utf-8"))
    return found


def runs(measured: dict[str, Any]) -> list[dict[str, Any]]:
    return [found["dlrun"] for found in measured["rounds"]]


def table(measured: dict[str, Any]) -> list[str]:
    rows = []
    for number, found in enumerate(runs(measured), 1):
        rows.append(
            [
                str(number),
                *(span(found[name]) for name in ("first", "early", "late", "last")),
                f"{span(found['early_save'])}, {size(found['early_bytes'])}",
                f"{span(found['late_save'])}, {size(found['late_bytes'])}",
                str(found["saves"]),
            ]
        )
    return [
        f"One step of 300 points in a net of 10 units, {EPOCHS:,} times, with rows, saves and a table in a "
        f"pipe. Seconds between rows that lie {counted(STRETCH, 'epoch')} apart: of the first such stretch "
        f"after a warm-up of one, the median of the first {STRETCHES} and of the last {STRETCHES}, and of "
        f"the last. A save is the mean of the first third of the saves, and of the last third.",
        "",
        *markdown(("round", "first", "early", "late", "last", "a save early", "a save late", "saves"), rows),
    ]
