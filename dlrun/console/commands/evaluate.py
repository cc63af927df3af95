"""`dlrun eval`, `dlrun predict` and `dlrun plot`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
    Tta,
    Weights,
    WhichCheckpoint,
    checkpoint_of,
    expanded,
    expanded_text,
    parts_of,
    progress_unless,
    with_options,
)
from dlrun.console.commands.completion import complete_plot
from dlrun.console.commands.folders import DATA, RUNS
from dlrun.errors import (
    UserError,
)

if TYPE_CHECKING:
    from dlrun.config.keys import Choice
    from dlrun.training.trained import Trained


def evaluate(
    run: RunOrCheckpoint,
    overrides: Overrides = None,
    split: Annotated[
        Literal["train", "valid", "test"] | None,
        typer.Option(help="The split of the run's data to evaluate on (default: test)."),
    ] = None,
    on: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|FOLDER",
            parser=expanded,
            help="Evaluate on all examples of other data, with a second figure without those trained on.",
        ),
    ] = None,
    checkpoint: WhichCheckpoint = "best",
    weights: Weights = None,
    tta: Tta = None,
    as_csv: Annotated[
        bool,
        typer.Option(
            "--csv", help="Print each example as CSV: truth, prediction and loss, the largest loss first."
        ),
    ] = False,
    json: Json = False,
    runs_dir: RunsDir = RUNS,
    plain: Plain = False,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
    device: Device = None,
) -> None:
    """Evaluate a checkpoint, and compare the figures with those recorded at training."""
    from dlrun.console.calibration import print_calibrated
    from dlrun.console.evaluation import about_seen, print_evaluation, print_views
    from dlrun.console.predictions import print_predictions_csv
    from dlrun.console.streams import say_json, warn
    from dlrun.results.judged_examples import judged_examples
    from dlrun.system.strict_json import finite
    from dlrun.training.calibration import take_calibration
    from dlrun.training.evaluation import evaluate_run, keep_report
    from dlrun.training.opening import open_checkpoint, open_given
    from dlrun.training.test_time_augmentation import take_views

    if as_csv and json:
        raise UserError("--csv and --json cannot both be given", where="command line")
    if split and on:
        raise UserError("--split is of the run's own data, and --on of other data", where="command line")
    path, found = checkpoint_of(run, checkpoint, runs_dir)
    words = with_options(overrides, device=device)
    progress = progress_unless(quiet=json or as_csv)
    own_parts = parts_of(parts)
    if on:
        trained, saved = open_given(path, found, words, own_parts, data_dir, on, progress, warn, weights)
    else:
        trained, saved = open_checkpoint(path, found, words, own_parts, data_dir, progress, warn, weights)
    trained = take_calibration(trained, saved, path)
    trained = take_views(trained, tta) if tta else trained
    chosen = trained.given or split or "test"
    for note in trained.data.notes:
        warn(note)
    report = evaluate_run(trained, saved, path, chosen)
    if report["foreign"]:
        warn(f"{path.name} is not of this run: {report['foreign']}")
    if json:
        say_json(finite(report))
    elif as_csv:
        if said := about_seen(report):
            warn(said)
        print_calibrated(report)
        print_views(tta)
        for _ in print_predictions_csv(judged_examples(trained, chosen), with_problems=False):
            pass
    else:
        print_evaluation(report)
    if found:
        keep_report(trained, report, chosen, warn)


def predict(
    run: RunOrCheckpoint,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            parser=expanded_text,
            help="Images, folders of images, CSV files with a row for each input, text files, patterns of "
            "files such as 'data/*.csv', or a text.",
        ),
    ],
    checkpoint: WhichCheckpoint = "best",
    weights: Weights = None,
    tta: Tta = None,
    length: Annotated[
        int | None, typer.Option(min=1, help="Tokens by which a text is continued (default: 200).")
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Below 1 a continuation is more probable, above 1 more varied; 0 always takes the most "
            "probable token (default: 1).",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**63 - 1, help="Another seed is another continuation (default: 0)."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            parser=expanded,
            help="The folder for predicted images (default: RUN-masks or RUN-reconstructions here).",
        ),
    ] = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print the predictions as CSV, each as soon as it is there.")
    ] = False,
    columns: Annotated[
        bool, typer.Option("--columns", help="Show the columns of a table beside its predictions.")
    ] = False,
    json: Json = False,
    runs_dir: RunsDir = RUNS,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
    device: Device = None,
) -> None:
    """Predict new inputs with a trained model, preprocessed as its training data were; continue a text.

    An input that cannot be predicted has a row with its problem, and the exit code is 1, unless the dataset
    has the option `unreadable: skip`.

    A class for each pixel is written as a PNG file of class numbers with a palette, a reconstruction of an
    image as a PNG file.
    """
    from dlrun.console.calibration import print_calibrated
    from dlrun.console.evaluation import print_views
    from dlrun.console.predictions import print_predictions, print_predictions_csv
    from dlrun.console.streams import say_json, warn
    from dlrun.results.continuation import Sampling
    from dlrun.results.prediction import PROBLEM, PredictedPieces, predict_files
    from dlrun.system.strict_json import finite

    if as_csv and json:
        raise UserError("--csv and --json cannot both be given", where="command line")
    path, found = checkpoint_of(run, checkpoint, runs_dir)
    stated = {"length": length, "temperature": temperature, "seed": seed}
    chosen = {name: value for name, value in stated.items() if value is not None}
    sampling = Sampling(**chosen) if chosen else None  # type: ignore[arg-type]
    name = found.name if found else path.stem
    predicted = predict_files(
        path,
        inputs,
        parts_of(parts),
        data_dir,
        device,
        sampling,
        out,
        name,
        with_columns=columns,
        weights=weights,
        tta=tta,
        warn=warn,
    )
    calibrated: dict[str, Any] = {}
    rows: Iterable[Mapping[str, Any]]
    if isinstance(predicted, PredictedPieces):
        calibrated = {name: own for name, own in asdict(predicted.calibration).items() if own}
        rows, with_problems = predicted.each_row(), True
    else:
        rows = predicted.rows()
        with_problems = any(PROBLEM in row for row in rows)
    if not json:
        print_calibrated(calibrated)
        print_views(tta)
    if as_csv:
        rows = print_predictions_csv(rows, with_problems=with_problems)
    elif not json:
        rows = print_predictions(rows, predicted.unit)
    shown, total, problems, first = list[Mapping[str, Any]](), 0, 0, ""
    for row in rows:
        total += 1
        shown += [row] if json else []
        if PROBLEM in row:
            problems, first = problems + 1, first or row[PROBLEM]
    for note in predicted.plan.data.notes:
        warn(note)
    if json:
        told = {
            "run": found.name if found else None,
            "checkpoint": str(path),
            "sha256": predicted.digest,
            "epoch": predicted.epoch,
            **calibrated,
            **({"tta": tta} if tta else {}),
            "unit": predicted.plan.data.unit,
            "predictions": shown,
        }
        say_json(finite(told))
    if problems:
        warn(f"{problems:,} of {total:,} inputs cannot be predicted: {first}")
        if predicted.plan.config.dataset.options.get("unreadable") != "skip":
            raise SystemExit(1)


def plot(
    run: RunOrCheckpoint,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME|NAME.OPTION=VALUE",
            help="Plots and their options, such as predictions.rows=6; dataset.path=… if the data has moved.",
            autocompletion=complete_plot,
        ),
    ] = None,
    checkpoint: WhichCheckpoint = "best",
    weights: Weights = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", parser=expanded, help="The folder for the pictures (default: the run's plots)."
        ),
    ] = None,
    runs_dir: RunsDir = RUNS,
    plain: Plain = False,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
    device: Device = None,
) -> None:
    """Draw plots of a run: those of its config, or the ones named."""
    from dlrun.config.data_paths import moved_data
    from dlrun.console.streams import warn
    from dlrun.system.files import ANOTHER_OUT, make_folder
    from dlrun.training.calibration import take_calibration
    from dlrun.training.opening import open_checkpoint
    from dlrun.training.provenance import said_of_other_code

    path, found = checkpoint_of(run, checkpoint, runs_dir)
    folder = out or (found.plots if found else None)
    if folder is None:
        raise UserError("a checkpoint file has no folder for pictures", fix="name one with --out")
    overrides = [word for word in names or () if word.startswith("dataset.")]
    names = [word for word in names or () if word not in overrides]
    words = with_options([*overrides, *([f"plots={_plots(names)}"] if names else [])], device=device)
    progress = progress_unless(quiet=False)
    trained, saved = open_checkpoint(path, found, words, parts_of(parts), data_dir, progress, warn, weights)
    told = len(trained.data.notes)
    trained = take_calibration(trained, saved, path)
    of_calibration = trained.data.notes[told:]
    of_parts = said_of_other_code(saved, trained.plan.config, trained.plan.parts)
    about = [moved_data(trained.plan.config), of_parts, *_about_seen(trained), *of_calibration]
    for note in filter(None, about):
        warn(note)
    if not trained.plan.plots:
        warn(f"no plots are named, by the run's config either: name some, as in dlrun plot {run} curves")
        return
    make_folder(folder, ANOTHER_OUT)
    if not draw_all(trained, trained.plan.pictures(trained.loaded["train"].aside), folder):
        raise SystemExit(1)


def _about_seen(trained: Trained) -> Iterator[str]:
    """Yield what pictures show, or leave out, of the examples that were trained on."""
    for name, count in trained.left_out.items():
        not_ = "not " if name == "train" else ""
        yield f"{count:,} {name} examples that were {not_}trained on are left out: the data have changed"
    for name, split in trained.loaded.splits.items():
        seen = trained.seen(name) if name not in ("train", *trained.left_out) else None
        if seen is not None and (count := int(seen.sum())):
            yield f"{count:,} of {len(split):,} {name} examples were trained on, and pictures show them too"


def _plots(words: list[str]) -> str:
    """NAME and NAME.OPTION=VALUE arguments as the YAML list of plots that they mean."""
    options: dict[str, list[str]] = {}
    for word in words:
        key, _, value = word.partition("=")
        name, _, option = key.partition(".")
        options.setdefault(name, []).extend([f"{option}: {value}"] if option else [])
    return "[" + ", ".join("{" + ", ".join([f"name: {n}", *o]) + "}" for n, o in options.items()) + "]"


def draw_all(trained: Trained, plots: list[Choice], folder: Path) -> bool:
    """Draw plots into a folder and print each file's path; True if all could be drawn."""
    from dlrun.console.streams import say, warn
    from dlrun.training.plot_files import draw_plots, picture_name

    wanted = [(choice, folder / picture_name(trained, choice)) for choice in plots]
    drawn = draw_plots(trained, wanted, warn)
    for path in filter(None, drawn):
        say(str(path))
    return all(drawn)
