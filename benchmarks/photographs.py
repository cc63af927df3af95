"""A thousand photographs at 224 pixels and a ResNet-18: the memory and the time of each command."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.measured import machine, markdown, size, span
from benchmarks.processes import dlrun, figures, in_turn, middle, ratios, rounds_of
from benchmarks.sections import Goal

TITLE = "A thousand photographs at 224 pixels"
COUNT, SIDES = 1_000, (480, 360)
CONFIG = """\
name: photographs
dataset: {{name: image_folder, path: {path}, size: 224}}
architecture: {{name: torchvision, model: resnet18}}
loss: cross_entropy
optimizer: {{name: sgd, lr: 1e-3}}
epochs: 1
batch_size: 8
epoch_examples: 80
metrics: [accuracy]
plots: []
"""
TITLES = {
    "train": "`dlrun train`: decoding, 80 steps' examples, evaluation of the validation split",
    "eval": "`dlrun eval last --split train`: 720 photographs",
    "predict": "`dlrun predict last FOLDER`: 1,000 photographs",
    "data": "`dlrun data`: ranges, previews, near copies",
    "plot": "`dlrun plot last predictions`",
}
GOALS = [
    Goal(
        f"memory at its highest: dlrun {name} / dlrun train",
        "≤",
        1.0,
        lambda m, name=name: ratios(m, name, "train", "peak"),  # type: ignore[misc]
    )
    for name in ("eval", "predict", "data", "plot")
]


def measure(rounds: int) -> dict[str, Any]:
    with TemporaryDirectory() as place:
        folder = Path(place)
        photographs = drawn(folder / "photographs")
        config = folder / "photographs.yaml"
        config.write_text(CONFIG.format(path=photographs), encoding="utf-8")
        where = ("--data-dir", str(folder / "data"), "--runs-dir", str(folder / "runs"))
        commands = {
            "train": ("train", str(config)),
            "eval": ("eval", "last", "--split", "train"),
            "predict": ("predict", "last", str(photographs), "--csv"),
            "data": ("data", str(config), "--out", str(folder / "previews")),
            "plot": ("plot", "last", "predictions"),
        }
        dlrun(*commands["train"], *where)  # the run that the others open
        contestants = {name: partial(_taken, *words, *where) for name, words in commands.items()}
        return {"machine": machine(), "rounds": list(in_turn(contestants, rounds))}


def drawn(folder: Path) -> Path:
    """Draw photographs of two classes: smooth noise, which JPEG stores as it does pictures, one brighter."""
    chance = np.random.default_rng(0)
    for number in range(COUNT):
        label = ("dusk", "noon")[number % 2]
        coarse = chance.integers(0, 160, (12, 16, 3)) + 60 * (number % 2)
        image = Image.fromarray(coarse.astype(np.uint8)).resize(SIDES, Image.Resampling.BICUBIC)
        (folder / label).mkdir(parents=True, exist_ok=True)
        image.save(folder / label / f"{number:04}.jpg", quality=85)
    return folder


def table(measured: dict[str, Any]) -> list[str]:
    rows = [
        [title, span(middle(measured, name, "seconds")), size(middle(measured, name, "peak"))]
        for name, title in TITLES.items()
        if figures(measured, name, "peak")
    ]
    return [
        f"{COUNT:,} JPEG files of {SIDES[0]} × {SIDES[1]} pixels, a ResNet-18 at a batch size of 8; medians "
        f"of {rounds_of(measured)}. Memory is the most that the process held at any time (`ru_maxrss`).",
        "",
        *markdown(("command", "seconds", "memory"), rows),
    ]


def _taken(*words: str) -> dict[str, Any]:
    done = dlrun(*words)
    return {"seconds": done.seconds, "peak": done.peak}
