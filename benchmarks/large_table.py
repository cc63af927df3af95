"""A CSV file of a million rows and twenty columns of numbers: read, trained on, and read again."""

from __future__ import annotations

import sys
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.measured import machine, markdown, size, span
from benchmarks.processes import (
    contestant,
    dlrun,
    figures,
    in_turn,
    middle,
    present,
    ratios,
    rounds_of,
    run,
    train,
)
from benchmarks.sections import Goal

TITLE = "A table of a million rows"
ROWS, COLUMNS = 1_000_000, 20
FLOAT32 = 4 * ROWS * COLUMNS
CONFIG = """\
dataset: {{name: csv, path: {path}, target: y}}
architecture: linear
loss: mse
optimizer: {{name: sgd, lr: 1e-3}}
epochs: 1
batch_size: 10000
threads: 1
plots: []
"""
IMPORTS = "import torch, pyarrow, pyarrow.csv, pyarrow.compute"
TITLES = {
    "pandas": "`pandas.read_csv`",
    "pyarrow": "`pyarrow.csv.read_csv`, all columns known to be numbers",
    "dlrun": "dlrun: read and checked",
    "dlrun, kept": "dlrun: the same again, from its cache",
    "train": "`dlrun train`, one epoch: the whole process",
    "train, kept": "the same again, from its cache",
    "imports": "`import torch` and pyarrow alone",
    "predict, a fifth": "`dlrun predict` of a fifth of the rows, `--csv`",
    "predict": "`dlrun predict` of all rows, `--csv`",
}
GOALS = [
    Goal(
        "a million rows read and checked: dlrun / pandas",
        "≤",
        1.0,
        lambda m: ratios(m, "dlrun", "pandas", "seconds"),
        note="dlrun parses numbers with pyarrow, whose own time is in the table below and is the larger part "
        "of dlrun's. The rest counts lines and quotes, so that each row knows its line, looks for values "
        "that are no numbers or too large, and gathers blocks into columns. pandas parses numbers faster and "
        "checks none of this.",
    ),
    Goal(
        "a million rows again, from the cache: seconds",
        "≤",
        1.0,
        lambda m: figures(m, "dlrun, kept", "seconds"),
        unit="s",
    ),
    Goal(
        "memory to train on a million rows, beyond the imports, in sizes of the float32 table",
        "≤",
        2.0,
        lambda m: _beyond_imports(m, "train"),
        note="the inputs are the float32 table once, keys and numbers of rows a fifth of it; the rest is "
        "what blocks of the file and a column at a time took, and the allocator keeps. What is free is given "
        "back (`malloc_trim`) before the examples are made. Tried: giving each freed array back at once "
        "(`mallopt`), which lowers it by 0.5 to 1, and takes a fifth more processor time.",
    ),
    Goal(
        "memory to predict a million rows / a fifth of them",
        "≤",
        1.05,
        lambda m: ratios(m, "predict", "predict, a fifth", "peak"),
    ),
]


def measure(rounds: int) -> dict[str, Any]:
    with TemporaryDirectory() as place:
        folder = Path(place)
        path = written(folder / "million.csv")
        config = folder / "million.yaml"
        config.write_text(CONFIG.format(path=path), encoding="utf-8")
        contestants: dict[str, Any] = {}
        if find_spec("pandas"):
            contestants["pandas"] = lambda: contestant("table_pandas", str(path))
        contestants |= {
            "pyarrow": lambda: contestant("table_pyarrow", str(path)),
            "dlrun": lambda: contestant("table_dlrun", str(path)),
            "dlrun, kept": lambda: contestant("table_dlrun", str(path), str(folder / "cache")),
            "train": lambda: _trained(config, folder, first=True),
            "train, kept": lambda: _trained(config, folder, first=False),
            "imports": lambda: {"peak": run([sys.executable, "-c", IMPORTS]).peak},
        }
        runs, fewer = folder / "runs", fifth(path)
        dlrun("train", str(config), "--quiet", "--data-dir", str(folder / "data"), "--runs-dir", str(runs))
        for name, file in (("predict, a fifth", fewer), ("predict", path)):
            contestants[name] = partial(_predicted, file, runs)
        contestant("table_dlrun", str(path), str(folder / "cache"))  # which is kept from here on
        found = list(in_turn(contestants, rounds))
        return {"machine": machine(), "bytes": path.stat().st_size, "rounds": found}


def written(path: Path) -> Path:
    """Write a table of normal numbers with five digits behind the point."""
    drawn = np.random.default_rng(0).normal(size=(ROWS, COLUMNS))
    names = [*(f"x{number}" for number in range(1, COLUMNS)), "y"]
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(names) + "\n")
        for start in range(0, ROWS, 10_000):
            rows = drawn[start : start + 10_000]
            file.write("\n".join(",".join(f"{value:.5f}" for value in row) for row in rows) + "\n")
    return path


def fifth(path: Path) -> Path:
    """Write the first fifth of the rows of a table beside it."""
    fewer = path.with_name("fifth.csv")
    with path.open(encoding="utf-8") as whole, fewer.open("w", encoding="utf-8") as file:
        file.writelines(islice(whole, 1 + ROWS // 5))
    return fewer


def _predicted(file: Path, runs: Path) -> dict[str, Any]:
    """Predict all rows of a file, into a pipe."""
    done = dlrun("predict", "last", str(file), "--csv", "--runs-dir", str(runs))
    return {"process_seconds": done.seconds, "peak": done.peak}


def table(measured: dict[str, Any]) -> list[str]:
    rows = []
    for name, title in present(measured, TITLES).items():
        each = measured["rounds"][0][name]
        seconds = next((figure for figure in ("seconds", "process_seconds") if figure in each), None)
        rows.append(
            [
                title,
                span(middle(measured, name, seconds)) if seconds else "",
                f"{middle(measured, name, 'processor'):.2f} s" if "processor" in each else "",
                size(middle(measured, name, "peak")),
            ]
        )
    return [
        f"{ROWS:,} rows of {COLUMNS} numbers, {size(measured['bytes'])} of CSV, {size(FLOAT32)} as float32; "
        f"medians of {rounds_of(measured)}. Seconds are those of reading, without imports, or of a whole "
        "process; memory is the most that the process held at any time (`ru_maxrss`), with its imports.",
        "",
        *markdown(("what", "seconds", "processor time", "memory"), rows),
    ]


def _trained(config: Path, folder: Path, *, first: bool) -> dict[str, Any]:
    """Train in a data folder of its own, which at the `first` time holds nothing."""
    data = folder / "data"
    if first and data.exists():
        run(["rm", "-r", str(data)])
    return train(str(config), "--data-dir", str(data))


def _beyond_imports(measured: dict[str, Any], name: str) -> list[float]:
    pairs = zip(figures(measured, name, "peak"), figures(measured, "imports", "peak"), strict=True)
    return [(peak - imports) / FLOAT32 for peak, imports in pairs]
