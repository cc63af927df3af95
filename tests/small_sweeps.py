"""A small sweep that several test files begin, find and look at."""

from __future__ import annotations

import re
from pathlib import Path

from dlrun.config.loading import load_config
from dlrun.run_folders.sweep_finding import sweeps_in
from dlrun.run_folders.sweep_folder import Sweep, created_sweep

CONFIG = """\
seeds: [0, 1]
dataset: {name: spiral, points: 40, valid_fraction: 0.2}
architecture: {name: mlp, hidden: [8], dropout: 0.2}
loss: cross_entropy
optimizer: {name: adam, lr: 1e-2}
epochs: 4
batch_size: full
metrics: [accuracy]
plots: []
"""


def only_sweep(runs_dir: Path) -> Sweep:
    """The sweep in a folder that has no other."""
    [sweep] = sweeps_in(runs_dir)
    return sweep


def ranking_of(sweep: Sweep) -> str:
    """The content of results.csv, with the numbers of runs in place of their names."""
    return re.sub(r"\b[a-z]+-(\d{3})", r"\1", (sweep.folder / "results.csv").read_text())


def listed(runs_dir: Path, tmp_path: Path) -> Sweep:
    """A sweep of two runs of which none has begun."""
    path = tmp_path / "small.yaml"
    path.write_text(CONFIG)
    with created_sweep(runs_dir, "small", jobs=1, device="cpu", metric="best.train_accuracy") as sweep:
        for epochs in (1, 2):
            sweep.add({"epochs": epochs}, load_config(path, [f"epochs={epochs}"]))
    return sweep
