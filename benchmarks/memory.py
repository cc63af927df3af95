"""The most memory that a process held which trains on MNIST, from its start to its end."""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.digits import STAND_IN, digits
from benchmarks.measured import machine, markdown, size
from benchmarks.processes import contestant, dlrun, figures, in_turn, middle, ratios, rounds_of, run, train
from benchmarks.sections import Goal

TITLE = "Memory of a run on MNIST"
EPOCHS = 2
OPTIMIZER = "import torch; torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, fused=True)"
TITLES = {
    "dlrun": "dlrun, ThreeNet, with its plots",
    "dlrun without plots": "the same, `plots=[]`",
    "careful": "careful loop that holds the images in float32",
    "dlrun before any data": "dlrun before any data (`dlrun show`: the model, no images)",
    "careful before any data": "careful loop before any data: its imports",
    "torch": "`import torch` alone",
    "optimizer": "the same, and one optimizer made, which imports PyTorch's compiler",
}
GOALS = [
    Goal(
        "memory at its highest, MNIST run: dlrun / careful loop",
        "≤",
        0.6,
        lambda m: ratios(m, "dlrun", "careful", "peak"),
        note="the pictures at the end exceed it: importing matplotlib and drawing take the difference of the "
        "first two rows below, and the careful loop draws none. `import torch` is in both. Training images "
        "are let go of before. Tried: returning freed memory before each picture, which does not lower the "
        "peak; a quarter of the resolution, which saves little.",
    ),
    Goal(
        "the same with no pictures drawn, as the careful loop draws none",
        "≤",
        0.6,
        lambda m: ratios(m, "dlrun without plots", "careful", "peak"),
    ),
]


def measure(rounds: int) -> dict[str, Any]:
    with digits() as (folder, real):
        words = ["mnist_threenet", f"epochs={EPOCHS}", "--data-dir", str(folder)]
        threads = train(*words, "plots=[]")["threads"]
        careful = ["threenet_careful", "--threads", str(threads), "--data", str(folder), "--epochs"]
        contestants = {
            "dlrun": lambda: {"peak": train(*words)["peak"]},
            "dlrun without plots": lambda: {"peak": train(*words, "plots=[]")["peak"]},
            "careful": lambda: {"peak": contestant(*careful, str(EPOCHS))["peak"]},
            "dlrun before any data": lambda: {"peak": dlrun("show", "mnist_threenet").peak},
            "careful before any data": lambda: {"peak": contestant(*careful, "0")["peak"]},
            "torch": lambda: {"peak": run([sys.executable, "-c", "import torch"]).peak},
            "optimizer": lambda: {"peak": run([sys.executable, "-c", OPTIMIZER]).peak},
        }
        found = list(in_turn(contestants, rounds))
    return {"machine": machine(), "real": real, "rounds": found}


def table(measured: dict[str, Any]) -> list[str]:
    rows = []
    for name, title in TITLES.items():
        peaks = figures(measured, name, "peak")
        middle_one = middle(measured, name, "peak")
        rows.append([title, *(size(peak) for peak in (min(peaks), middle_one, max(peaks)))])
    return [
        f"The most memory that the whole process held at any time (`ru_maxrss`), {EPOCHS} epochs, "
        f"{rounds_of(measured)}.",
        "",
        *([] if measured["real"] else [STAND_IN, ""]),
        *markdown(("process", "minimum", "median", "maximum"), rows),
    ]
