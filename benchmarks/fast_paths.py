"""Benchmark of each fast path: the same run with every path on, and with that path off."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measured import machine, markdown, span
from benchmarks.processes import in_turn, middle, ratios, rounds_of, run

TITLE = "Fast paths"
WORDS = ("spiral_relu", "evaluate_every=60", "plots=[]", "expect={}", "threads=1")
SIZES = {"64": ("batch_size=64", "epochs=60"), "full": ("epochs=600",)}
TITLES = {
    "none": "all of them",
    "compiler": "without the stand-in for the compiler",
    "quick_step": "without a step in one function",
    "closed_form": "without gradients in closed form",
    "backward": "without the direct call of the autograd engine",
    "step": "without the direct call of an optimizer's step",
    "keep_freed_memory": "without keeping freed memory (mallopt)",
    "all": "without any (`DLRUN_FAST_PATHS=0`)",
}


def measure(rounds: int) -> dict[str, Any]:
    contestants = {
        f"{name}, {size}": partial(trained_without, name, size) for name in TITLES for size in SIZES
    }
    found = list(in_turn(contestants, rounds))
    for size in SIZES:
        losses = {each[f"{name}, {size}"]["loss"] for each in found for name in TITLES}
        if len(losses) > 1:
            raise RuntimeError(f"a fast path changes the loss: {losses}")
    return {"machine": machine(), "rounds": found}


def trained_without(name: str, batches: str) -> dict[str, Any]:
    """One run, from shell to prompt, without a fast path."""
    with TemporaryDirectory() as runs:
        words = ["train", *WORDS, *SIZES[batches], "--runs-dir", runs, "--quiet"]
        done = run([sys.executable, "-m", "benchmarks.contestants.dlrun_without", name, *words])
        [folder] = Path(runs).iterdir()
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return {
        "process_seconds": done.seconds,
        "loop_seconds": summary["seconds"],
        "loss": summary["final"]["train_loss"]["mean"],
    }


def table(measured: dict[str, Any]) -> list[str]:
    rows = []
    for name, title in TITLES.items():
        if f"{name}, 64" not in measured["rounds"][0]:  # of a fast path that is newer
            continue
        row = [title]
        for size, figure in (("64", "loop_seconds"), ("full", "loop_seconds"), ("64", "process_seconds")):
            by = sorted(ratios(measured, f"{name}, {size}", f"none, {size}", figure))
            middle_one = span(middle(measured, f"{name}, {size}", figure))
            row.append(f"{middle_one}: {by[0]:.2f} … {by[len(by) // 2]:.2f} … {by[-1]:.2f}")
        rows.append(row)
    headings = ("spiral_relu", "loop, batches of 64", "loop, full batches", "process, batches of 64")
    return [
        f"The median time, and its smallest, middle and largest ratio to the run with all fast paths in "
        f"{rounds_of(measured)}; one thread. The loss of the last epoch is the same in every digit.",
        "",
        *markdown(headings, rows),
    ]
