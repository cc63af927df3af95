"""Image models with augmentations: an epoch of dlrun's loop, and of a careful one written by hand."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.measured import counted, machine, markdown, span
from benchmarks.processes import contestant
from benchmarks.sections import Goal

TITLE = "Epochs of image models with augmentations"
MODELS = {
    "resnet18": "ResNet-18, 960 colour images of 64×64 pixels, batches of 32, crop, flip and cutout",
    "mnist_cnn": "`mnist_cnn`, 60,000 digits, batches of 64, crop",
}


def measure(rounds: int, threads: int | None = None) -> dict[str, Any]:
    found = {}
    for name in MODELS:
        print(f"  {name}", flush=True)
        words = ("--model", name, "--epochs", str(rounds), "--threads", str(threads or 1))
        found[name] = contestant("image_loops_timed", *words)["epochs"]
    return {"machine": machine(), "threads": threads or 1, "models": found}


def ratios(measured: dict[str, Any], name: str) -> list[float]:
    """Of each pair of epochs, dlrun's seconds by those of the loop by hand."""
    return [pair["dlrun"] / pair["by hand"] for pair in measured["models"][name]]


GOALS = [
    Goal(
        f"an epoch of {name} with augmentations: dlrun / careful loop",
        "≤",
        1.03,
        lambda measured, name=name: ratios(measured, name),  # type: ignore[misc]
    )
    for name in MODELS
]


def table(measured: dict[str, Any]) -> list[str]:
    rows = []
    for name, title in MODELS.items():
        pairs, found = measured["models"][name], ratios(measured, name)
        seconds = [span(median(pair[way] for pair in pairs)) for way in ("dlrun", "by hand")]
        rows.append([title, *seconds, f"{min(found):.3f} … {max(found):.3f}", f"{median(found):.3f}"])
    pairs = counted(len(next(iter(measured["models"].values()))), "pair")
    return [
        f"Both train in one process, epoch by epoch in turn, {counted(measured['threads'], 'thread')}, "
        f"{pairs} of epochs after one that is not timed. They learn from the same order and the same "
        "augmentations, with the same losses; the loop by hand computes the accuracy of the epoch too.",
        "",
        *markdown(("model", "dlrun", "loop by hand", "ratios", "median"), rows),
    ]
