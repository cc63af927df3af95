"""A character model on a megabyte of text: dlrun beside the loop by hand of the same model and steps."""

from __future__ import annotations

import csv
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measured import machine, markdown, span
from benchmarks.processes import contestant, dlrun, figures, in_turn, middle, ratios, rounds_of
from benchmarks.sections import Goal

TITLE = "A character model on a megabyte of text"
EPOCHS = 3  # the first is the warm-up
CHARACTERS = 2**20
WINDOW, BATCH, RATE = 128, 32, 1e-3
LAYERS, WIDTH, HEADS = 2, 128, 4
CONTESTANTS = {"dlrun": "dlrun", "bare": "the loop by hand"}
GOALS = [
    Goal(
        "character model, epoch: dlrun / loop by hand",
        "≤",
        1.05,
        lambda m: ratios(m, "dlrun", "bare", "whole"),
    ),
    Goal(
        "character model, bits per character: dlrun / loop by hand",
        "≤",
        1.02,
        lambda m: ratios(m, "dlrun", "bare", "bits"),
    ),
]


def measure(rounds: int) -> dict[str, Any]:
    with text() as file:
        words = ["--data", str(file), "--epochs", str(EPOCHS)]
        threads = of_dlrun(file)["threads"]  # what its rule chooses
        contestants = {
            "dlrun": partial(of_dlrun, file),
            "bare": partial(contestant, "language_bare", *words, "--threads", str(threads)),
        }
        found = list(in_turn(contestants, rounds))
    return {"machine": machine(), "threads": threads, "rounds": found}


@contextmanager
def text() -> Iterator[Path]:
    """The first megabyte of the standard library's modules, in alphabetical order."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "text.txt"
        sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
        letters = "".join(source.read_text(encoding="utf-8") for source in sources)
        file.write_text(letters[:CHARACTERS], encoding="utf-8")
        yield file


def of_dlrun(file: Path) -> dict[str, Any]:
    """One run as a user trains it: rows, saves, its table in a pipe, and the test split after each epoch."""
    words = [
        f"dataset={{name: text_file, path: '{file}', window: {WINDOW}}}",
        f"architecture={{name: transformer, layers: {LAYERS}, width: {WIDTH}, heads: {HEADS}, causal: true}}",
        f"optimizer={{name: adamw, lr: {RATE}, weight_decay: 0.01}}",
        "schedule=constant",
        "gradient_clip=null",
        f"batch_size={BATCH}",
        f"epochs={EPOCHS}",
        "metrics=[bits_per_character]",
        "plots=[]",
        "expect={}",
        "device=cpu",
    ]
    with TemporaryDirectory() as runs:
        done = dlrun("train", "char_lm", *words, "--runs-dir", runs)
        [folder] = Path(runs).iterdir()
        with (folder / "metrics.csv").open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        seconds = [float(line) for line in _seconds(done.lines)]
        threads = next(line for line in (folder / "log.txt").read_text().splitlines() if "threads" in line)
    return {
        "whole": seconds[-1],
        "bits": float(rows[-1]["test_bits_per_character"]),
        "threads": int(threads.split(" threads")[0].split()[-1]),
        "peak": done.peak,
    }


def _seconds(lines: list[tuple[float, str]]) -> Iterator[float]:
    """The mean time of an epoch after the first, between the lines of the table."""
    ends = {line.split()[1]: at for at, line in lines if line.startswith("epoch ")}
    times = [ends[f"{epoch}/{EPOCHS}"] for epoch in (1, EPOCHS)]
    yield (times[1] - times[0]) / (EPOCHS - 1)


def table(measured: dict[str, Any]) -> list[str]:
    rows = [
        [
            title,
            *(span(value) for value in (min(times), middle(measured, name, "whole"), max(times))),
            f"{middle(measured, name, 'bits'):.4f}",
        ]
        for name, title in CONTESTANTS.items()
        for times in [figures(measured, name, "whole")]
    ]
    return [
        f"A transformer of {LAYERS} layers, width {WIDTH}, {HEADS} heads, on the characters of the first "
        f"megabyte of Python's standard library: windows of {WINDOW}, batch {BATCH}, AdamW {RATE:g}, "
        f"{measured['threads']} threads. An epoch has its steps with their loss and bits per character, and "
        f"those on the last tenth of the text; for dlrun also rows, saves and its table in a pipe. Both "
        f"begin with the same weights and see the windows in an order of their own. Mean of the epochs after "
        f"the first; {rounds_of(measured)}.",
        "",
        *markdown(("contestant", "epoch, minimum", "median", "maximum", "test bits per character"), rows),
    ]
