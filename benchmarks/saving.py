"""A model of 50 MB, saved as often as dlrun allows: the share of the time that goes into it."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.long import dlrun_timed, runs
from benchmarks.measured import machine, markdown, size, span
from benchmarks.processes import in_turn, rounds_of, train
from benchmarks.sections import Goal

TITLE = "Saving a large model"
SECONDS = 100  # that a run shall take, so that there are several saves
MOST_ROUNDS = 3
WORDS = (
    "spiral_relu",
    "dataset.points=100",
    "architecture.hidden=[3500, 3500]",
    "optimizer={name: sgd, lr: 1e-3}",
    "evaluate_every=1000",
    "plots=[]",
    "expect={}",
)
GOALS = [
    Goal(
        "a model of 50 MB: share of the training time spent in saves",
        "≤",
        3,
        lambda m: [100 * found["share"] for found in runs(m)],
        " %",
    ),
]


def measure(rounds: int) -> dict[str, Any]:
    short = train(*WORDS, "epochs=10")
    epochs = max(20, round(SECONDS / (short["loop_seconds"] / 10)))
    found = list(in_turn({"dlrun": partial(saves_of, epochs)}, min(rounds, MOST_ROUNDS)))
    return {"machine": machine(), "rounds": found, "checkpoint": short["checkpoint"]}


def saves_of(epochs: int) -> dict[str, Any]:
    """The share of whole cycles, from the beginning of one save to that of the next, that saves take."""
    timed = dlrun_timed("train", *WORDS, f"epochs={epochs}")
    saves = [(at, seconds) for epoch, at, seconds, _ in timed["saves"] if 0 < epoch < epochs]
    if len(saves) < 2:
        raise RuntimeError(f"{len(saves)} saves in {epochs} epochs are too few for a share")
    (began, _), (ended, _) = saves[0], saves[-1]
    took = [seconds for _, seconds in saves[:-1]]
    whole = timed["saves"][-1][1] - timed["saves"][0][1]
    return {
        "epochs": epochs,
        "saves": len(saves),
        "save": sum(took) / len(took),
        "cycle": (ended - began) / len(took),
        "share": sum(took) / (ended - began),
        "keeping": timed["keeping"] / whole,
    }


def table(measured: dict[str, Any]) -> list[str]:
    rows = []
    for number, found in enumerate(runs(measured), 1):
        rows.append(
            [
                str(number),
                f"{found['epochs']:,}",
                str(found["saves"]),
                span(found["save"]),
                span(found["cycle"]),
                f"{found['share']:.2%}",
                f"{found['keeping']:.2%}",
            ]
        )
    return [
        f"2-3500-3500-3: `last.pt` has {size(measured['checkpoint'])}, and so has `best.pt`, which is "
        f"written at each save because every epoch is better than the one before. Each save is timed; the "
        f"share is that of whole cycles, from the beginning of one save to that of the next; "
        f"{rounds_of(measured)}. The row of each epoch and the copy of the best weights in memory are not in "
        "it.",
        "",
        *markdown(
            ("round", "epochs", "saves", "a save", "a cycle", "share of saves", "share of rows and copies"),
            rows,
        ),
    ]
