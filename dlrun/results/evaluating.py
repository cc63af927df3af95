"""The evaluation of a run from Python, as `dlrun eval` makes it."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from dlrun.config.keys import SPLITS
from dlrun.config.registry import Parts
from dlrun.errors import UserError, nearest
from dlrun.results.places import PathLike, expanded
from dlrun.run_folders.run import Run
from dlrun.system.process_state import undisturbed
from dlrun.training.calibration import take_calibration
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint, open_given


def evaluated(
    path: Path, run: Run | None, split: str | None, on: PathLike | None, parts: Parts, data_dir: Path
) -> dict[str, Any]:
    """The report of a checkpoint on a split of its run's data, by default test, or `on` other data.

    Raises UserError for both, for a split that there is not, and for other data that are no file or folder.
    """
    if split and on is not None:
        raise UserError("split is of the run's own data, and on= of other data", fix="leave one out")
    if split not in (None, *SPLITS):
        raise UserError(f"there is no split {split!r}{nearest(str(split), SPLITS)}")
    if on is not None and (not isinstance(on, str | os.PathLike) or not os.fspath(on)):
        raise UserError("on= is the path of a file or a folder", fix="write a data frame into a CSV file")
    with undisturbed():
        if on is not None:
            trained, saved = open_given(path, run, [], parts, data_dir, expanded(on), warn=warnings.warn)
        else:
            trained, saved = open_checkpoint(path, run, [], parts, data_dir, warn=warnings.warn)
        trained = take_calibration(trained, saved, path)
        report = evaluate_run(trained, saved, path, trained.given or split or "test")
    for note in trained.data.notes:
        warnings.warn(note, stacklevel=3)
    return report
