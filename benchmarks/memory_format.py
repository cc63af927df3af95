"""The channels of images last in memory (`channels_last: true`), beside the usual layout."""

from __future__ import annotations

import os
from statistics import median
from typing import Any

from benchmarks.measured import counted, machine, markdown, span
from benchmarks.processes import contestant

TITLE = "Channels last in memory"
CONFIGS = {
    "mnist_cnn": "`mnist_cnn`, 4,000 of its images of 28×28",
    "symbols_filled": "`symbols_filled`, 600 of its colour images of 32×32",
    "segmentation_unet": "`segmentation_unet`, 256 of its images",
}
EXAMPLES = {"mnist_cnn": 4_000, "symbols_filled": 600, "segmentation_unet": 256}


def measure(rounds: int, threads: int | None = None) -> dict[str, Any]:
    found = {}
    for name, examples in EXAMPLES.items():
        print(f"  {name}", flush=True)
        words = ("--config", name, "--examples", str(examples), "--epochs", str(rounds))
        found[name] = contestant("memory_format_timed", *words, "--threads", str(threads or 1))["epochs"]
    load = round(os.getloadavg()[1], 1)
    return {"machine": machine(), "threads": threads or 1, "load": load, "configs": found}


def table(measured: dict[str, Any]) -> list[str]:
    rows = []
    for name, pairs in measured["configs"].items():
        seconds = [span(median(pair[way] for pair in pairs)) for way in ("usual", "last")]
        ratios = [pair["last"] / pair["usual"] for pair in pairs]
        rows.append(
            [CONFIGS[name], *seconds, f"{min(ratios):.3f} … {max(ratios):.3f}", f"{median(ratios):.3f}"]
        )
    pairs = counted(len(next(iter(measured["configs"].values()))), "pair")
    return [
        f"Both train in one process, epoch by epoch in turn, {counted(measured['threads'], 'thread')}, "
        f"{pairs} of epochs after one that is not timed; each epoch ends with its evaluation. The machine "
        f"was shared: a load of {measured['load']:g}. What is learnt is the same up to rounding.",
        "",
        *markdown(("config", "usual layout", "channels last", "ratios", "median"), rows),
    ]
