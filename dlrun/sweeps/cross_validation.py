"""Cross-validation: a sweep whose runs are the folds of one setting, and their predictions together."""

from __future__ import annotations

import json
from pathlib import Path

from dlrun.config.keys import FOLDS
from dlrun.config.registry import Parts
from dlrun.results.out_of_fold import OutOfFold, out_of_fold
from dlrun.run_folders.records import read_record
from dlrun.run_folders.run import DONE, Run
from dlrun.run_folders.sweep_folder import OUT_OF_FOLD, OUT_OF_FOLD_FIGURES, Sweep
from dlrun.system.files import write_atomically
from dlrun.system.strict_json import finite


def runs_of_folds(sweep: Sweep) -> dict[int, list[Run]]:
    """The runs of each fold, once all of them have ended well; {} for a sweep that is no cross-validation."""
    if not sweep.is_cross_validation:
        return {}
    found, records = dict[int, list[Run]](), [read_record(trial.run) for trial in sweep.trials]
    if not all(each.run.status(each.summary) in DONE for each in records):
        return {}
    for each in records:
        if each.fold is not None:
            found.setdefault(each.fold, []).append(each.run)
    whole = {each.config.get(FOLDS) for each in records}
    return found if len(whole) == 1 and len(found) in whole else {}


def keep_out_of_fold(sweep: Sweep, parts: Parts, data_dir: Path) -> OutOfFold | None:
    """Write the predictions of a cross-validation, and the figures of all together, to the sweep's folder.

    Gives them, and None if it is no cross-validation, or not whole.

    Raises UserError if the models or the data cannot be read, or the file cannot be written.
    """
    runs = runs_of_folds(sweep)
    if not runs:
        return None
    found = out_of_fold(runs, parts, data_dir)
    text = found.csv().encode(errors="backslashreplace")
    write_atomically(sweep.folder / OUT_OF_FOLD, lambda file: file.write(text))
    figures = json.dumps(finite(found.plain()), indent=2, allow_nan=False).encode()
    write_atomically(sweep.folder / OUT_OF_FOLD_FIGURES, lambda file: file.write(figures))
    return found
