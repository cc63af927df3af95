"""Thirty-two runs of the spiral: a sweep, its seeds stacked, and a shell loop of `dlrun train`."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measured import counted, machine, markdown, span
from benchmarks.processes import dlrun, figures, in_turn, middle, ratios, rounds_of
from benchmarks.sections import Goal

TITLE = "Many runs: four learning rates × eight seeds"
RATES, SEEDS, JOBS = ("1e-4", "1e-3", "1e-2", "1e-1"), 8, 2
CONFIG = ("spiral_relu", "expect={}")  # a rate that is too low learns too little
RUNS = len(RATES) * SEEDS
TITLES = {
    "loop": f"{RUNS} `dlrun train --quiet`, one after another",
    "sweep": f"`dlrun sweep --jobs {JOBS} --quiet`",
    "stacked": f"the same with `stacked=true`: {len(RATES)} runs of {SEEDS} seeds",
}
GOALS = [
    Goal(
        f"{RUNS} runs: `dlrun sweep --jobs {JOBS}` / a shell loop of `dlrun train`",
        "≤",
        0.45,
        lambda m: ratios(m, "sweep", "loop", "process_seconds"),
    ),
    Goal(
        "runs of the sweep whose metrics.csv, `seconds` aside, is not that of `dlrun train` bit for bit",
        "≤",
        0,
        lambda m: figures(m, "sweep", "different"),
    ),
]
Rows = dict[tuple[str, str], list[list[str]]]  # learning rate and seed -> what metrics.csv says of it


def measure(rounds: int) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        places = {name: Path(folder) / name for name in TITLES}
        contestants = {
            "loop": partial(loop, places["loop"]),
            "sweep": partial(sweep, places["sweep"]),
            "stacked": partial(sweep, places["stacked"], "stacked=true"),
        }
        found = []
        for number, each in enumerate(in_turn(contestants, rounds), 1):
            one_by_one, *others = (rows(places[name], number) for name in TITLES)
            for name, theirs in zip(("sweep", "stacked"), others, strict=True):
                each[name] |= agreement(one_by_one, theirs)
            found.append(each)
    return {"machine": machine(), "rounds": found}


def loop(folder: Path) -> dict[str, Any]:
    """A process for each run: the sum of their seconds."""
    seconds = 0.0
    words = ["train", *CONFIG, "--quiet", "--runs-dir", str(folder / next_name(folder))]
    for rate in RATES:
        for seed in range(SEEDS):
            seconds += dlrun(*words, f"optimizer.lr={rate}", "--seed", str(seed)).seconds
    return {"process_seconds": seconds}


def sweep(folder: Path, *more: str) -> dict[str, Any]:
    """One sweep, from shell to prompt."""
    words = [f"optimizer.lr={','.join(RATES)}", "--seeds", str(SEEDS), "--jobs", str(JOBS), "--quiet"]
    done = dlrun("sweep", *CONFIG, *words, *more, "--runs-dir", str(folder / next_name(folder)))
    return {"process_seconds": done.seconds}


def next_name(folder: Path) -> str:
    """The name of the runs folder of the next round."""
    return f"{len(list(folder.iterdir())) + 1 if folder.exists() else 1:03d}"


def rows(folder: Path, number: int) -> Rows:
    """The figures of the runs of one round, without `seconds`."""
    found: Rows = {}
    for path in (folder / f"{number:03d}").rglob("metrics.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                cells = [cell for name, cell in row.items() if name != "seconds"]
                found.setdefault((row["lr"], row["seed"]), []).append(cells)
    if len(found) != RUNS:
        raise RuntimeError(f"{len(found)} runs in {folder}, not {RUNS}")
    return found


def agreement(ours: Rows, theirs: Rows) -> dict[str, float]:
    """The number of runs that differ in any digit, and the largest differences over all runs.

    `first` is relative, of the losses of the first epoch; `last` is that of the last training accuracies.
    """
    loss, accuracy = 2, 3  # behind epoch and seed
    pairs = [(ours[run], theirs[run]) for run in ours]
    first = [abs(float(their[0][loss]) / float(our[0][loss]) - 1) for our, their in pairs]
    last = [abs(float(their[-1][accuracy]) - float(our[-1][accuracy])) for our, their in pairs]
    return {"different": sum(our != their for our, their in pairs), "first": max(first), "last": max(last)}


def table(measured: dict[str, Any]) -> list[str]:
    loop_seconds = middle(measured, "loop", "process_seconds")
    lines = []
    for name, title in TITLES.items():
        seconds = figures(measured, name, "process_seconds")
        times = [span(value) for value in (min(seconds), median(seconds), max(seconds))]
        lines.append([title, *times, f"{median(seconds) / loop_seconds:.2f}"])
    same = RUNS - max(figures(measured, "sweep", "different"))
    first, last = (max(figures(measured, "stacked", figure)) for figure in ("first", "last"))
    return [
        f"The shipped config `spiral_relu` with {len(RATES)} learning rates and {SEEDS} seeds, including its "
        f"pictures, the whole command, {rounds_of(measured)} on "
        f"{counted(measured['machine']['cores'], 'processor core')}.",
        "",
        *markdown(("contestant", "minimum", "median", "maximum", "by the loop"), lines),
        "",
        f"Compared in each round: {same:.0f} of the {RUNS} runs of the sweep have the same metrics.csv as "
        f"their `dlrun train`, digit by digit except `seconds`; stacked, the losses of the first epoch "
        f"differ by at most {first:.1g} of their value, and the last training accuracies by {100 * last:.2f} "
        "points.",
    ]
