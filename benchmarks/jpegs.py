"""Sixty thousand small JPEGs in class folders: dlrun beside torchvision's ImageFolder and a DataLoader."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.agreement import TOLERANCES, agree
from benchmarks.measured import machine, markdown, size, span
from benchmarks.noise import FIXED_WORK
from benchmarks.processes import contestant, figures, in_turn, middle, ratios, rounds_of, train
from benchmarks.sections import Goal

TITLE = "Sixty thousand small JPEGs"
COUNT, CLASSES = 60_000, 10
SHORTEST, LONGEST = 32, 64  # pixels of a side
SIDE = 32  # pixels of the images that the model gets
BATCH, RATE, WORKERS = 256, 1e-3, 2
EPOCHS = 2  # of the run from the cache, whose second is timed
CONFIG = """\
name: jpegs
dataset:
  name: image_folder
  path: {path}
  size: {side}
  normalise: half
  test_fraction: 0
  valid_fraction: 0
architecture: {{name: linear, flatten: true}}
loss: cross_entropy
optimizer: {{name: sgd, lr: {rate}}}
batch_size: {batch}
metrics: [accuracy]
monitor: train_loss
plots: []
device: cpu
threads: 1
"""
FIRST, KEPT, LOADER = "dlrun", "dlrun, kept", "loader"
TITLES = {
    FIRST: "`dlrun train`, the first time: every file read and decoded, one epoch",
    KEPT: f"`dlrun train` again: the decoded images are kept, {EPOCHS} epochs",
    LOADER: f"`ImageFolder` and a `DataLoader` with {WORKERS} workers, one epoch",
}
GOALS = [
    Goal(
        "60,000 JPEGs, first run of one epoch, whole process: dlrun / ImageFolder and DataLoader",
        "≤",
        0.6,
        lambda m: ratios(m, FIRST, LOADER, "process_seconds"),
        note="the larger part of a file's processor time is that of Pillow's opening, decoding and resizing. "
        "The other has to do this as well; each imports PyTorch besides. Files are decoded in as many "
        "processes as there are cores, and hashed and written in one.",
    ),
    Goal(
        "60,000 JPEGs, epoch: second of dlrun / ImageFolder and DataLoader",
        "≤",
        0.1,
        lambda m: ratios(m, KEPT, LOADER, "epoch"),
    ),
]


def measure(rounds: int) -> dict[str, Any]:
    with TemporaryDirectory() as place:
        folder = Path(place)
        images = drawn(folder / "images", COUNT)
        config = folder / "jpegs.yaml"
        config.write_text(CONFIG.format(path=images, side=SIDE, rate=RATE, batch=BATCH), encoding="utf-8")
        kept = folder / "kept"
        trained(config, kept, EPOCHS)  # the decoded images are kept from here on
        words = ["--data", str(images), "--epochs", "1", "--batch", str(BATCH), "--threads", "1"]
        contestants = {
            FIRST: partial(anew, config, folder / "new"),
            KEPT: partial(trained, config, kept, EPOCHS),
            LOADER: partial(contestant, "jpegs_loader", *words),
        }
        found = []
        for each in in_turn(contestants, rounds):
            agree(each, ["losses"])
            found.append({name: _kept(figures) for name, figures in each.items()})
        total = sum(file.stat().st_size for file in images.glob("*/*.jpg"))
    return {"machine": machine(), "bytes": total, "rounds": found}


def drawn(folder: Path, count: int) -> Path:
    """Draw colour images of ten classes: a coarse pattern of each class under noise, of many sizes."""
    chance = np.random.default_rng(0)
    patterns = chance.integers(0, 256, (CLASSES, 6, 6, 3))
    for label in range(CLASSES):
        (folder / f"class{label}").mkdir(parents=True)
    for number in range(count):
        label = number % CLASSES
        coarse = (patterns[label] + 3 * chance.integers(0, 256, patterns[label].shape)) // 4
        width, height = map(int, chance.integers(SHORTEST, LONGEST + 1, 2))
        image = Image.fromarray(coarse.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
        image.save(folder / f"class{label}" / f"{number:05}.jpg", quality=85)
    return folder


def anew(config: Path, data: Path) -> dict[str, Any]:
    """Train for an epoch in a data folder that holds nothing yet, and nothing afterwards."""
    try:
        return trained(config, data, 1)
    finally:
        shutil.rmtree(data, ignore_errors=True)


def trained(config: Path, data: Path, epochs: int) -> dict[str, Any]:
    """Train as a user does. `epoch` is the mean of those after the first, with their rows and saves."""
    found = train(str(config), f"epochs={epochs}", "--data-dir", str(data))
    if epochs > 1:
        found["epoch"] = (found["loop_seconds"] - found["row_seconds"][0]) / (epochs - 1)  # a little too much
    return found


def _kept(found: dict[str, Any]) -> dict[str, Any]:
    kept = ("process_seconds", "process_processor", "epoch", FIXED_WORK)
    return {name: found[name] for name in kept if name in found} | {"loss": found["losses"][0]}


def table(measured: dict[str, Any]) -> list[str]:
    rows = []
    for name, title in TITLES.items():
        whole, losses = figures(measured, name, "process_seconds"), figures(measured, name, "loss")
        median = middle(measured, name, "process_seconds")
        has_epoch = "epoch" in measured["rounds"][0][name]
        rows.append(
            [
                title,
                *(span(value) for value in (min(whole), median, max(whole))),
                span(middle(measured, name, "process_processor")),
                span(middle(measured, name, "epoch")) if has_epoch else "–",
                f"{min(losses):.4f} … {max(losses):.4f}",
            ]
        )
    return [
        f"{COUNT:,} colour images of {SHORTEST} to {LONGEST} pixels a side in {CLASSES} class folders, "
        f"{size(measured['bytes'])}, drawn before and so in the memory of the system. All become "
        f"{SIDE}×{SIDE} pixels, the shorter side scaled and the centre kept, from -1 to 1 in float32; a "
        f"linear layer learns from all of them, cross entropy, SGD {RATE:g}, batch {BATCH}; "
        f"{rounds_of(measured)}. The whole process is that from shell to prompt, with imports and the listing"
        f" of the folders; dlrun's also has the hashes of files and images, the decoded images written to "
        f"disk, the splits, the checkpoint and the table. Processor time is that of all processes. Each "
        f"trains with one thread; the {WORKERS} workers have one each. An epoch has its batches and "
        f"its steps with "
        f"their loss and accuracy; that of the loop by hand the start of its workers too, that of dlrun, the "
        f"second of the run, its row, saves and table.",
        "",
        *markdown(
            (
                "contestant",
                "whole process, minimum",
                "median",
                "maximum",
                "processor time",
                "epoch, median",
                "loss of epoch 1",
            ),
            rows,
        ),
        "",
        f"All begin with the same weights. Checked in each round: training losses of the first epoch are "
        f"within {TOLERANCES['losses']:.0%} of dlrun's.",
    ]
