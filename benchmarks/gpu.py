"""On a GPU, where there is one: ThreeNet beside the bare eager loop, and 64 seeds beside one."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import Any

from benchmarks.agreement import agree, said
from benchmarks.digits import STAND_IN, digits
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

TITLE = "On a GPU"
EPOCHS, WARM_UP = 50, 5
LONG_EPOCHS = 500
SEEDS = 64
TITLES = {
    "dlrun": "dlrun, `graph: auto`",
    "eager": "dlrun, `graph: false`",
    "bare": "bare eager loop, data on the GPU",
}
GOALS = [
    Goal(
        "GPU, ThreeNet epoch: dlrun / bare eager loop",
        "≤",
        0.25,
        lambda m: ratios(m, "dlrun", "bare", "whole"),
    ),
    Goal(
        f"GPU, {LONG_EPOCHS} epochs of ThreeNet", "<", 10, lambda m: figures(m, "long", "loop_seconds"), " s"
    ),
    Goal(
        f"GPU, {SEEDS} seeds stacked / 1 seed",
        "≤",
        3,
        lambda m: ratios(m, "seeds", "dlrun", "loop_seconds"),
    ),
]


def measure(rounds: int) -> dict[str, Any]:
    if not has_gpu():
        return {"not measured": "there is no GPU here"}
    with digits() as (folder, real):
        words = ["--data-dir", str(folder), "--device", "cuda"]
        bare = ["--data", str(folder), "--device", "cuda", "--epochs", str(EPOCHS)]
        contestants = {
            "dlrun": partial(threenet, f"epochs={EPOCHS}", *words),
            "bare": partial(contestant, "threenet_careful", *bare),
            # With what its config measures besides: the whole training set every 20 epochs.
            "long": partial(
                train, "mnist_threenet", f"epochs={LONG_EPOCHS}", "plots=[]", "expect={}", *words
            ),
        }
        graph = knows("mnist_threenet", "graph=false")
        if graph:
            contestants["eager"] = partial(threenet, f"epochs={EPOCHS}", "graph=false", *words)
        if knows("mnist_threenet", "stacked=true", "seeds=[0, 1]"):
            seeds = ["stacked=true", "--seeds", str(SEEDS)]
            contestants["seeds"] = partial(threenet, f"epochs={EPOCHS}", *seeds, *words)
        contestants["dlrun"]()  # the files are read and the kernels loaded once
        found = list(in_turn(contestants, rounds))
    for each in found:
        agree({name: each[name] for name in TITLES if name in each})
    kept = ("whole", "loop_seconds", "process_seconds")
    return {
        "machine": machine(),
        "real": real,
        "graph": graph,
        "rounds": [
            {
                name: {figure: of[figure] for figure in kept if figure in of} | {"loss": of["losses"][-1]}
                for name, of in each.items()
            }
            for each in found
        ],
    }


def has_gpu() -> bool:
    """True if PyTorch, in a separate process, finds a CUDA device."""
    question = "import sys, torch; sys.exit(0 if torch.cuda.is_available() else 1)"
    return subprocess.run([sys.executable, "-c", question]).returncode == 0


def threenet(*words: str) -> dict[str, Any]:
    """ThreeNet as it comes, but for the plots; `whole` is an epoch of the loop after the warm-up."""
    found = train(
        "mnist_threenet", "evaluate_train_every=null", "monitor=train_loss", "plots=[]", "expect={}", *words
    )
    seeds = len(found["row_seconds"]) // EPOCHS if "--seeds" in words else 1
    timed = found["row_seconds"][::seeds][WARM_UP:]
    warming = sum(found["row_seconds"][::seeds][:WARM_UP])
    return found | {"whole": (found["loop_seconds"] - warming) / len(timed)}


def table(measured: dict[str, Any]) -> list[str]:
    rows = []
    for name, title in present(measured, TITLES).items():
        whole = figures(measured, name, "whole")
        losses = figures(measured, name, "loss")
        times = [span(value) for value in (min(whole), middle(measured, name, "whole"), max(whole))]
        rows.append([title, *times, f"{min(losses):.4f} … {max(losses):.4f}"])
    long = span(middle(measured, "long", "loop_seconds"))
    loops = [f"{LONG_EPOCHS} epochs, and the whole training set measured every 20: {long}."]
    if "seeds" in measured["rounds"][0]:
        loops.append(
            f"{EPOCHS} epochs of one seed: {span(middle(measured, 'dlrun', 'loop_seconds'))}, of {SEEDS} "
            f"seeds stacked: {span(middle(measured, 'seeds', 'loop_seconds'))}."
        )
    else:
        loops.append("This version has no `stacked` to be measured.")
    return [
        f"ThreeNet, {counted(EPOCHS, 'epoch')}, an epoch with its test set, rows, saves and table; "
        f"{rounds_of(measured)}. Medians of the loop, from its first step to its last: " + " ".join(loops),
        "",
        *([] if measured["real"] else [STAND_IN, ""]),
        *markdown(("contestant", "epoch, minimum", "median", "maximum", "training loss"), rows),
        "",
        said(),
    ]
