"""Augmentations of images by dlrun, and by torchvision for each image and for each batch."""

from __future__ import annotations

import os
from statistics import median
from typing import Any

from benchmarks.measured import counted, installed, machine, markdown
from benchmarks.processes import contestant
from benchmarks.sections import Goal

TITLE = "Augmentations of 20,000 images"
COUNT = 20_000  # images of an epoch, for which the times are scaled up
SIZES = {"64": (512, 64), "224": (160, 32)}  # by the pixels of a side: images that are timed, and a batch


def measure(rounds: int, threads: int | None = None) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    for number in range(rounds):
        print(f"  round {number + 1} of {rounds}", flush=True)
        found.append({side: timed(side, threads or 1) for side in SIZES})
    return {
        "machine": machine(),
        "torchvision": installed("torchvision"),
        "threads": threads or 1,
        "load": round(os.getloadavg()[1], 1),
        "rounds": found,
    }


def timed(side: str, threads: int) -> dict[str, dict[str, float]]:
    """The seconds of each augmentation for COUNT images, each way."""
    images, batch = SIZES[side]
    words = ("--side", side, "--images", str(images), "--batch", str(batch), "--threads", str(threads))
    found = contestant("augmentations_timed", *words)["seconds"]
    return {
        name: {way: COUNT / batch * seconds for way, seconds in ways.items()} for name, ways in found.items()
    }


def by_torchvision(measured: dict[str, Any], side: str, way: str, name: str | None = None) -> list[float]:
    """In each round, dlrun's seconds by those of torchvision: of one augmentation, or of all together."""
    ratios = []
    for each in measured["rounds"]:
        some = each[side].values() if name is None else [each[side][name]]
        ratios.append(sum(one["dlrun"] for one in some) / sum(one[way] for one in some))
    return ratios


GOALS = [
    Goal(
        f"augmentations at {side} pixels, all together: dlrun / torchvision image by image",
        "≤",
        1.0,
        lambda measured, side=side: by_torchvision(measured, side, "images"),  # type: ignore[misc]
    )
    for side in SIZES
]


def table(measured: dict[str, Any]) -> list[str]:
    headings = ["augmentation"]
    for side in SIZES:
        headings += [f"{side} pixels", "by images", "by batches"]
    rows = []
    for name in measured["rounds"][0]["64"]:
        row = [f"`{name}`"]
        for side in SIZES:
            seconds = median(each[side][name]["dlrun"] for each in measured["rounds"])
            ratios = (median(by_torchvision(measured, side, way, name)) for way in ("images", "batches"))
            row += [f"{seconds:.1f} s", *(f"{ratio:.2f}" for ratio in ratios)]
        rows.append(row)
    is_shared = measured["load"] > measured["threads"] + 0.5
    shared = f" The machine was shared: its load was {measured['load']:g}." if is_shared else ""
    batches = " or ".join(str(batch) for _, batch in SIZES.values())
    return [
        f"Seconds for {COUNT:,} images of 8 bits until they are changed and normalised, by the median of "
        f"batches of {batches} images, and these seconds by those of torchvision.transforms.v2 "
        f"({measured['torchvision']}): called for each image, as in a dataset, or for each batch, which then "
        "changes all its images alike. dlrun changes normalised floats, each image by itself; torchvision "
        "changes bytes. Both have the options of dlrun, and what has a probability changes every image; "
        f"{counted(measured['threads'], 'thread')}, in turn in one process, "
        f"{counted(len(measured['rounds']), 'round')}.{shared}",
        "",
        *markdown(headings, rows),
    ]
