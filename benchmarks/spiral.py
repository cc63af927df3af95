"""spiral_relu, 1,000 full-batch epochs: the loop, and the whole process from shell to prompt."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.agreement import agree, said
from benchmarks.measured import counted, machine, markdown, span
from benchmarks.noise import FIXED_WORK
from benchmarks.processes import contestant, figures, in_turn, middle, ratios, rounds_of, train
from benchmarks.sections import Goal

TITLE = "A thousand full-batch epochs of spiral_relu"
EPOCHS = 1000
TITLES = {
    "dlrun": "dlrun, with checkpoints and plots",
    "bare": "bare loop, which only imports torch and trains",
}
GOALS = [
    Goal(
        "spiral_relu, 1,000 epochs, training loop: dlrun / bare loop",
        "≤",
        0.75,
        lambda m: ratios(m, "dlrun", "bare", "loop_seconds"),
    ),
    Goal(
        "spiral_relu, whole process with checkpoints and plots: dlrun / bare script",
        "≤",
        1.0,
        lambda m: ratios(m, "dlrun", "bare", "process_seconds"),
    ),
]


def measure(rounds: int, threads: int | None = None) -> dict[str, Any]:
    chosen = [f"threads={threads}"] if threads else []
    of_dlrun = partial(train, "spiral_relu", f"epochs={EPOCHS}", *chosen)
    threads = of_dlrun()["threads"]  # what its rule chooses; and the files are read once
    words = ["--epochs", str(EPOCHS), "--threads", str(threads), "--hidden", "100", "--seed", "12345"]
    found = []
    for each in in_turn({"dlrun": of_dlrun, "bare": partial(contestant, "spiral_bare", *words)}, rounds):
        agree(each)
        found.append({name: _kept(figures) for name, figures in each.items()})
    return {"machine": machine(), "threads": threads, "rounds": found}


def _kept(found: dict[str, Any]) -> dict[str, Any]:
    kept = ("loop_seconds", "process_seconds", FIXED_WORK)
    return {name: found[name] for name in kept} | {"loss": found["losses"][-1]}


def table(measured: dict[str, Any]) -> list[str]:
    rows = []
    for name, title in TITLES.items():
        losses = figures(measured, name, "loss")
        loop, whole = figures(measured, name, "loop_seconds"), figures(measured, name, "process_seconds")
        rows.append(
            [
                title,
                f"{span(min(loop))} … {span(max(loop))}",
                span(middle(measured, name, "loop_seconds")),
                f"{span(min(whole))} … {span(max(whole))}",
                span(middle(measured, name, "process_seconds")),
                f"{min(losses):.6f} … {max(losses):.6f}",
            ]
        )
    return [
        f"Loss and accuracy are computed in every epoch, and for as many test points in every 100th; "
        f"{counted(measured['threads'], 'thread')} each, {rounds_of(measured)}. The loop is timed inside the "
        f"process; dlrun's time is that of `summary.json`, with rows, table and saves. Its threads busy-wait "
        f"for each other only briefly, those of the bare loop for as long as OpenMP's default says.",
        "",
        *markdown(("contestant", "loop", "median", "whole process", "median", "training loss"), rows),
        "",
        said(),
    ]
