"""`dlrun calibrate`."""

from __future__ import annotations

from typing import Annotated

import typer

from dlrun.console.commands.arguments import (
    DataDir,
    Device,
    Json,
    Overrides,
    PartsDir,
    Plain,
    RunOrCheckpoint,
    RunsDir,
    Weights,
    WhichCheckpoint,
    checkpoint_of,
    parts_of,
    progress_unless,
    with_options,
)
from dlrun.console.commands.folders import DATA, RUNS


def calibrate(
    run: RunOrCheckpoint,
    overrides: Overrides = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Delete the temperatures: probabilities are as trained again.")
    ] = False,
    checkpoint: WhichCheckpoint = "best",
    weights: Weights = None,
    json: Json = False,
    runs_dir: RunsDir = RUNS,
    plain: Plain = False,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
    device: Device = None,
) -> None:
    """Make the probabilities of a classifier honest: fit a temperature on its validation split.

    Outputs are divided by it before softmax, so that no predicted class changes. It is kept beside the
    checkpoint, in best.calibration.json, and eval, plot and predict use it and say so. A checkpoint that
    changes, as by resume, has to be calibrated again.
    """
    from dlrun.console.calibration import print_calibration
    from dlrun.console.streams import say, say_json, warn
    from dlrun.errors import UserError
    from dlrun.results.calibration import calibrate as fit
    from dlrun.system.strict_json import finite
    from dlrun.training.calibration import calibration_file
    from dlrun.training.opening import open_checkpoint

    path, found = checkpoint_of(run, checkpoint, runs_dir)
    if remove:
        file = calibration_file(path)
        if not file.is_file():
            what = f"{path.name} was not calibrated: there is no {file.name}"
            raise UserError(what, where=str(path.parent))
        file.unlink()
        say(f"{file} deleted: probabilities are as trained")
        return
    words, progress = with_options(overrides, device=device), progress_unless(quiet=json)
    trained, saved = open_checkpoint(path, found, words, parts_of(parts), data_dir, progress, warn, weights)
    for note in trained.data.notes:
        warn(note)
    report = fit(trained, saved, path)
    if json:
        say_json(finite(report))
    else:
        print_calibration(report, calibration_file(path))
