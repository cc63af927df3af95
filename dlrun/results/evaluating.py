"""The evaluation of a run from Python, as `dlrun eval` makes it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from dlrun.config.registry import Parts
from dlrun.run_folders.run import Run
from dlrun.system.process_state import undisturbed
from dlrun.training.calibration import take_calibration
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint, open_given


def evaluated(
    path: Path, run: Run | None, split: str | None, on: Path | None, parts: Parts, data_dir: Path
) -> dict[str, Any]:
    """The report of a checkpoint on a split of its run's data, by default test, or `on` other data."""
    with undisturbed():
        if on:
            trained, saved = open_given(path, run, [], parts, data_dir, on, warn=warnings.warn)
        else:
            trained, saved = open_checkpoint(path, run, [], parts, data_dir, warn=warnings.warn)
        trained = take_calibration(trained, saved, path)
        report = evaluate_run(trained, saved, path, trained.given or split or "test")
    for note in trained.data.notes:
        warnings.warn(note, stacklevel=3)
    return report
