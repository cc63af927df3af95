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
from dlrun.console.commands.completion import complete_metric
from dlrun.console.commands.folders import DATA, RUNS


def calibrate(
    run: RunOrCheckpoint,
    overrides: Overrides = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC",
            autocompletion=complete_metric,
            help="Choose the probability above which the second of two classes, or each label, is predicted: "
            "the one with the best METRIC, such as f1, on the validation split.",
        ),
    ] = None,
    remove: Annotated[
        bool,
        typer.Option("--remove", help="Delete temperatures and thresholds: the model is as trained again."),
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

    Outputs are divided by it before softmax, so that no predicted class changes. --threshold chooses, beside
    the temperature or without one, above which probability a class is predicted, where 1/2 is not best.
    Both are kept beside the checkpoint, in best.calibration.json, and eval, plot and predict use them and say
    so. A checkpoint that changes, as by resume, has to be calibrated again.
    """
    from dlrun.console.calibration import print_calibration, print_thresholds
    from dlrun.console.streams import say_json, say_sentence, warn
    from dlrun.errors import UserError, shortened
    from dlrun.results.calibration import calibrate as fit
    from dlrun.results.thresholds import choose_thresholds
    from dlrun.system.strict_json import finite
    from dlrun.training.calibration import calibration_file, take_calibration
    from dlrun.training.opening import open_checkpoint

    if remove and threshold is not None:
        raise UserError("--remove deletes thresholds, and --threshold chooses one", where="command line")
    if threshold is not None and not threshold.isidentifier():
        what = f"--threshold takes the name of a metric, such as f1, not {shortened(repr(threshold))}"
        raise UserError(what, where="command line")
    path, found = checkpoint_of(run, checkpoint, runs_dir)
    if remove:
        file = calibration_file(path)
        if not file.is_file():
            what = f"{path.name} was not calibrated: there is no {file.name}"
            raise UserError(what, where=str(path.parent))
        file.unlink()
        say_sentence(f"{file} deleted: probabilities and decisions are as trained")
        return
    words, progress = with_options(overrides, device=device), progress_unless(quiet=json)
    trained, saved = open_checkpoint(path, found, words, parts_of(parts), data_dir, progress, warn, weights)
    if threshold is not None:
        trained = take_calibration(trained, saved, path)
    for note in trained.data.notes:
        warn(note)
    if threshold is None:
        report = fit(trained, saved, path)
    else:
        report = choose_thresholds(trained, saved, path, threshold)
    if json:
        say_json(finite(report))
    elif threshold is not None:
        print_thresholds(report, calibration_file(path))
    else:
        print_calibration(report, calibration_file(path))
