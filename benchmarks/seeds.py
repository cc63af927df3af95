"""Eight seeds of a small network: stacked into one model, one after another, and beside the bare loop."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any

from benchmarks.measured import counted, machine, markdown, span
from benchmarks.processes import (
    contestant,
    figures,
    in_turn,
    knows,
    middle,
    present,
    ratios,
    rounds_of,
    train,
)
from benchmarks.sections import Goal

TITLE = "Eight seeds of a small network"
SEEDS, EPOCHS, BATCH, HIDDEN = 8, 100, 64, (64, 64)
STRICT, LOOSE = 1e-3, 0.2  # how far losses may lie apart, see agree
WORDS = (
    "spiral_relu",
    f"architecture.hidden=[{', '.join(map(str, HIDDEN))}]",
    f"batch_size={BATCH}",
    f"epochs={EPOCHS}",
    "plots=[]",
    "expect={}",
)
TITLES = {
    "stacked": f"`stacked: true`, {SEEDS} seeds in one process",
    "processes": f"{SEEDS} separate `dlrun train`, one after another",
    "apart": f"`--seeds {SEEDS}` without `stacked`",
    "bare": "bare loop, one seed",
}
HEADINGS = (
    "contestant",
    "whole, minimum",
    "median",
    "maximum",
    "loop for each seed",
    "by the bare loop",
    "outside the loop, each process",
)
GOALS = [
    Goal(
        f"{SEEDS} seeds at batch {BATCH}: `stacked: true` / {SEEDS} separate `dlrun train`",
        "≤",
        0.2,
        lambda m: ratios(m, "stacked", "processes", "process_seconds"),
        note="the time of a process outside its loop, most of it `import torch`, is paid once instead of "
        f"{SEEDS} times; the table below shows it. In the loop, a profile of a stacked step finds most of "
        f"the time in batched matrix products and in activations, {SEEDS} times as many as for one seed; all "
        "seeds share the calls. Tried: vmap over the whole model, which took twice as long; ReLU in place "
        "and two threads, whose gain was within the noise.",
    ),
]


def measure(rounds: int, threads: int | None = None) -> dict[str, Any]:
    words = [*WORDS, *([f"threads={threads}"] if threads else [])]
    threads = train(*words)["threads"]
    bare = [
        "spiral_bare",
        "--epochs",
        str(EPOCHS),
        "--batch",
        str(BATCH),
        "--threads",
        str(threads),
        "--hidden",
    ]
    contestants = {
        "processes": partial(one_after_another, words),
        "apart": partial(together, [*words, "--seeds", str(SEEDS)]),
        "bare": partial(by_hand, [*bare, *map(str, HIDDEN)]),
    }
    if knows("spiral_relu", "stacked=true", "seeds=[0, 1]"):
        contestants["stacked"] = partial(together, [*words, "stacked=true", "--seeds", str(SEEDS)])
    found = list(in_turn(contestants, rounds))
    for each in found:
        agree(each)
    return {"machine": machine(), "threads": threads, "rounds": found}


def together(words: list[str]) -> dict[str, Any]:
    """All seeds in one process; `per_seed` are the seconds of its loop for each."""
    return told(train(*words), SEEDS)


def one_after_another(words: list[str]) -> dict[str, Any]:
    """A process for each seed: the sum of their seconds."""
    each = [told(train(*words, "--seed", str(seed)), 1) for seed in range(SEEDS)]
    return {
        "process_seconds": sum(found["process_seconds"] for found in each),
        "per_seed": sum(found["per_seed"] for found in each) / SEEDS,
        "first": [loss for found in each for loss in found["first"]],
        "last": [loss for found in each for loss in found["last"]],
    }


def by_hand(words: list[str]) -> dict[str, Any]:
    return told(contestant(*words), 1)


def told(found: dict[str, Any], seeds: int) -> dict[str, Any]:
    """The times of a training, and the loss of each seed in the first and the last epoch."""
    return {
        "process_seconds": found["process_seconds"],
        "per_seed": found["loop_seconds"] / seeds,
        "first": found["losses"][:seeds],
        "last": found["losses"][-seeds:],
    }


def agree(found: dict[str, dict[str, Any]]) -> None:
    """Raise RuntimeError where a seed learns something else than in a process of its own.

    The last bits of a stacked product differ, and so, in the end, does what thousands of steps make of them;
    the bare loop sees the points in an order of its own.
    """
    for name, theirs in found.items():
        for column, tolerance in (("first", LOOSE if name == "bare" else STRICT), ("last", LOOSE)):
            for seed, loss in enumerate(theirs[column]):
                ours = found["processes"][column][seed]
                if not abs(loss - ours) <= tolerance * ours:  # nan is no agreement either
                    raise RuntimeError(
                        f"the {column} loss of seed {seed} of {name} is {loss}, in its own process {ours}"
                    )


def outside(measured: dict[str, Any], name: str) -> list[float]:
    """The seconds that each process of a contestant spends outside its loop, in each round."""
    processes = SEEDS if name == "processes" else 1
    seeds = SEEDS if name in ("stacked", "apart") else 1
    return [
        found[name]["process_seconds"] / processes - seeds * found[name]["per_seed"]
        for found in measured["rounds"]
    ]


def table(measured: dict[str, Any]) -> list[str]:
    bare = middle(measured, "bare", "per_seed")
    rows = []
    for name, title in present(measured, TITLES).items():
        seconds = figures(measured, name, "process_seconds")
        per_seed = middle(measured, name, "per_seed")
        rows.append(
            [
                title,
                *(
                    span(value)
                    for value in (min(seconds), middle(measured, name, "process_seconds"), max(seconds))
                ),
                span(per_seed),
                f"{per_seed / bare:.2f}",
                span(median(outside(measured, name))),
            ]
        )
    missing = (
        [] if "stacked" in measured["rounds"][0] else ["", "This version has no `stacked` to be measured."]
    )
    return [
        f"2-{'-'.join(map(str, HIDDEN))}-3, 3,000 points of the spiral, batch {BATCH}, {EPOCHS} epochs, "
        f"no plots, "
        f"{counted(measured['threads'], 'thread')}, {rounds_of(measured)}.",
        "",
        *markdown(
            HEADINGS,
            rows,
        ),
        *missing,
        "",
        f"Checked in each round: the losses of the first epoch are within {STRICT:.1%} of those of a seed in "
        f"a process of its own, {LOOSE:.0%} for the bare loop, which sees the points in another order; those "
        f"of the last epoch within {LOOSE:.0%}.",
    ]
