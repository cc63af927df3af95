"""The commands: parse, call, print. What needs torch is imported by the command that needs it."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from dlrun.errors import (
    RunFailed,
    Unforeseen,
    UserError,
    is_out_of_memory,
    note_resume,
    noted_resume,
    shortened,
)

if TYPE_CHECKING:
    from dlrun.config.keys import Choice
    from dlrun.run_folders.records import Record
    from dlrun.run_folders.run import Run
    from dlrun.system.progress import Progress
    from dlrun.training.plan import Plan
    from dlrun.training.run_writer import Outcome
    from dlrun.training.trained import Trained
    from dlrun.training.views import TrainingView

app = typer.Typer(
    name="dlrun",
    help="One YAML file in, one reproducible deep-learning run folder out.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# How long threads wait awake for each other; read once, when torch is loaded. Those that go to sleep at once
# between two layers cost an idle machine two fifths of its speed, and those that stay awake for as long as
# OpenMP likes make a busy one ten times slower.
WAITING = ("GOMP_SPINCOUNT", "10000")


def main() -> NoReturn:
    """The command line. Whatever goes wrong is printed here, and only here."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault(*WAITING)
    words, chosen = sys.argv[1:], dict[str, Any](debug=False)
    try:
        code = _called(words, chosen)
    except Exception as error:
        from dlrun import display

        told = _told(error, words)
        display.complain(told, error if chosen["debug"] else None)
        sys.exit(told.exit_code)
    sys.exit(code)


def _called(words: list[str], chosen: dict[str, Any]) -> int:
    """Call the command that the words name; its exit code."""
    try:
        Path.cwd()
    except OSError:  # PyTorch would end the process in a way of its own
        raise UserError("the folder you are in is gone", fix="go to one that is there") from None
    found = app(words or ["--help"], prog_name="dlrun", standalone_mode=False, obj=chosen)
    code = found if isinstance(found, int) else 0
    if "dlrun.display" in sys.modules:  # something was printed
        from dlrun import display

        lost = display.lost()
        if lost and code == 0 and chosen.get("command") not in ("train", "resume"):  # those leave a folder
            raise _output_lost(lost)
    return code


def _output_lost(error: OSError) -> RunFailed:
    what = f"cannot write the output: {error.strerror}"
    return RunFailed(what, fix="free some space, or send it elsewhere")


def _told(error: Exception, words: list[str]) -> UserError:
    """An exception as it is told to the user."""
    if isinstance(error, UserError):
        return error
    if is_out_of_memory(error):
        fix = "take a smaller model or less data, or end what else needs memory"
        told = RunFailed("out of memory", fix=fix)
        told.resume = noted_resume(error)
        return told
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return UserError(f"there is no {shortened(error.filename)}: {error.strerror}")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
        return _output_lost(error)  # of --help, which Typer prints
    if hasattr(error, "format_message"):  # an error of click, which some versions of Typer hide in their own
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "dlrun"
        return UserError(error.format_message(), fix=f"{command} --help says what can be written")
    return Unforeseen(error, shlex.join(["dlrun", "--debug", *words]))


@app.callback()
def of_every_command(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole of what goes wrong.")] = False,
) -> None:
    """Keep what is said before the name of the command, and that name."""
    context.ensure_object(dict).update(debug=debug, command=context.invoked_subcommand)


def _complete_config(incomplete: str) -> list[str]:
    from glob import escape, glob

    from dlrun.config.lookup import shipped_names, shipped_sweeps

    here = glob(f"{escape(incomplete)}*.yaml")  # noqa: PTH207, Path.glob takes no absolute pattern
    return [*here, *(name for name in (*shipped_names(), *shipped_sweeps()) if name.startswith(incomplete))]


def _complete_run(incomplete: str) -> list[str]:
    from dlrun.run_folders.listing import runs_in

    names = ["last", *(run.name for run in runs_in(Path("runs")))]
    return [name for name in names if name.startswith(incomplete)]


def _complete_run_or_sweep(incomplete: str) -> list[str]:
    from dlrun.run_folders.locating import SWEEP_FILE

    sweeps = sorted(file.parent.name for file in Path("runs").glob(f"*/{SWEEP_FILE}"))
    return [*_complete_run(incomplete), *(name for name in sweeps if name.startswith(incomplete))]


def _complete_kind(incomplete: str) -> list[str]:
    from dlrun.config.registry import KINDS

    return [kind for kind in KINDS if kind.startswith(incomplete)]


ConfigName = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG",
        help="A YAML file, or the name of a config that comes with dlrun.",
        autocompletion=_complete_config,
    ),
]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run folder, its name, the start of its name, or `last`.",
        autocompletion=_complete_run,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Changes of the config, such as optimizer.lr=3e-4."),
]
PartsDir = Annotated[
    Path | None,
    typer.Option("--parts", metavar="DIR", help="A folder of your own parts, shaped like dlrun's."),
]
DataDir = Annotated[
    Path, typer.Option("--data-dir", metavar="DIR", envvar="DLRUN_DATA", help="Where datasets are kept.")
]
Device = Annotated[str | None, typer.Option("--device", metavar="D", help="auto, cpu, cuda, cuda:N or mps.")]
RunsDir = Annotated[
    Path, typer.Option("--runs-dir", metavar="DIR", help="Where run folders are made and found.")
]
Where = Annotated[
    str | None,
    typer.Option(metavar="CONDITION", help="Such as 'optimizer.name == adam and train_accuracy > 0.9'."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Watch = Annotated[bool, typer.Option("--watch", help="Redraw plots/curves.png every few seconds.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the run folder and nothing else.")]

RunOrCheckpoint = Annotated[
    str,
    typer.Argument(
        metavar="RUN_OR_CHECKPOINT",
        help="A run as elsewhere, or a checkpoint file.",
        autocompletion=_complete_run,
    ),
]
WhichCheckpoint = Annotated[Literal["best", "last"], typer.Option(help="Which of the run's checkpoints.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]

PICTURES = (".png", ".pdf", ".svg")
DATA = Path("data")
RUNS = Path("runs")


@app.command()
def train(
    config: ConfigName,
    overrides: Overrides = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Train this one seed.")] = None,
    seeds: Annotated[int | None, typer.Option(metavar="N", help="Train the seeds 0 … N-1.", min=1)] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name the run folder after this.")] = None,
    runs_dir: RunsDir = RUNS,
    stop_after: Annotated[
        int | None, typer.Option(metavar="N", help="Pause after epoch N; `dlrun resume` goes on.", min=1)
    ] = None,
    watch: Watch = False,
    quiet: Quiet = False,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
    device: Device = None,
) -> None:
    """Train a config and keep everything in a new run folder."""
    from dlrun.config.dumping import dump_config
    from dlrun.config.keys import SWEEP_KEY
    from dlrun.config.loading import load_config, read_config
    from dlrun.config.lookup import find_config
    from dlrun.config.registry import Parts

    if seed is not None and seeds is not None:
        raise UserError("--seed and --seeds cannot both be given", where="command line")
    words = _with(overrides, device=device, name=name)
    words += [f"seeds=[{seed}]"] if seed is not None else []
    words += [f"seeds={list(range(seeds))}"] if seeds is not None else []
    own_parts = Parts(parts)
    path = find_config(config)
    checked = load_config(path, words, own_parts)
    from dlrun import display
    from dlrun.run_folders.locating import create_run
    from dlrun.training.experiment import train_run
    from dlrun.training.plan import make_plan

    plan = make_plan(checked, own_parts, data_dir)
    loaded = plan.load(watching=_watching(quiet))  # what can fail, fails before there is a folder
    plan.try_on(loaded)
    run = create_run(runs_dir, checked.name, dump_config(checked))
    if not quiet and SWEEP_KEY in read_config(path).value:
        display.warn(
            f"the values under {SWEEP_KEY}: are for dlrun sweep; this trains the config as it stands"
        )
    view = _view(quiet, run)
    outcome = train_run(plan, run, view, loaded=loaded, stop_after=stop_after, redraw=watch)
    _conclude(plan, outcome, quiet)


@app.command()
def resume(
    run: RunName,
    overrides: Overrides = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Refuse other threads, or another device, PyTorch or machine than before, on which the last "
            "bits depend, with exit code 4: else a line says so.",
        ),
    ] = False,
    runs_dir: RunsDir = RUNS,
    watch: Watch = False,
    quiet: Quiet = False,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
    device: Device = None,
) -> None:
    """Go on with a run where it stopped; epochs=… may grow."""
    from dlrun.config.loading import load_config
    from dlrun.config.registry import Parts
    from dlrun.run_folders.locating import find_run

    found, own_parts = find_run(run, runs_dir), Parts(parts)
    checked = load_config(found.config, _with(overrides, device=device), own_parts)
    from dlrun.training.experiment import train_run
    from dlrun.training.plan import make_plan

    plan = make_plan(checked, own_parts, data_dir)
    view, watching = _view(quiet, found), _watching(quiet)
    outcome = train_run(plan, found, view, redraw=watch, strict=strict, watching=watching)
    _conclude(plan, outcome, quiet)


@app.command("eval")
def evaluate(
    run: RunOrCheckpoint,
    overrides: Overrides = None,
    split: Annotated[
        Literal["train", "valid", "test"], typer.Option(help="The examples to evaluate on.")
    ] = "test",
    checkpoint: WhichCheckpoint = "best",
    json: Json = False,
    runs_dir: RunsDir = RUNS,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
    device: Device = None,
) -> None:
    """Evaluate a checkpoint, and compare with what was recorded at training."""
    from dlrun import display
    from dlrun.config.registry import Parts
    from dlrun.system.strict_json import finite
    from dlrun.training.evaluation import evaluate_run, keep_report
    from dlrun.training.trained import open_checkpoint

    path, found = _checkpoint(run, checkpoint, runs_dir)
    words = _with(overrides, device=device)
    watching = _watching(quiet=json)
    trained, saved = open_checkpoint(path, found, words, Parts(parts), data_dir, watching)
    for note in trained.data.notes:
        display.warn(note)
    report = evaluate_run(trained, saved, path, split)
    if json:
        display.say_json(finite(report))
    else:
        display.evaluation(report)
    if found:
        keep_report(trained, report, split, display.warn)


@app.command()
def predict(
    run: RunOrCheckpoint,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="Images, folders of images, or CSV files with a row for each input."
        ),
    ],
    checkpoint: WhichCheckpoint = "best",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    json: Json = False,
    runs_dir: RunsDir = RUNS,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
    device: Device = None,
) -> None:
    """Say what a trained model makes of new inputs, prepared as its training data were."""
    from dlrun import display
    from dlrun.config.registry import Parts
    from dlrun.results.prediction import predict_files
    from dlrun.system.strict_json import finite

    if as_csv and json:
        raise UserError("--csv and --json cannot both be given", where="command line")
    path, found = _checkpoint(run, checkpoint, runs_dir)
    predicted = predict_files(path, files, Parts(parts), data_dir, device)
    for note in predicted.plan.data.notes:
        display.warn(note)
    if as_csv:
        display.predictions_csv(predicted.rows())
    elif json:
        told = {
            "run": found.name if found else None,
            "checkpoint": str(path),
            "sha256": predicted.digest,
            "epoch": predicted.epoch,
            "unit": predicted.plan.data.unit,
            "predictions": predicted.rows(),
        }
        display.say_json(finite(told))
    else:
        display.predictions(predicted.rows(), predicted.plan.data.unit)


@app.command()
def plot(
    run: RunOrCheckpoint,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME|NAME.OPTION=VALUE]...",
            help="Plots, and their options, such as predictions.rows=6. dataset.path=… names the data anew.",
        ),
    ] = None,
    checkpoint: WhichCheckpoint = "best",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to put the pictures (default: the run's plots).")
    ] = None,
    runs_dir: RunsDir = RUNS,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
    device: Device = None,
) -> None:
    """Draw a run's pictures again, or others: its own plots without a NAME."""
    from dlrun.config.registry import Parts
    from dlrun.system.files import ANOTHER_OUT, make_folder
    from dlrun.training.trained import open_checkpoint

    path, found = _checkpoint(run, checkpoint, runs_dir)
    folder = out or (found.plots if found else None)
    if folder is None:
        raise UserError("a checkpoint by itself has no folder for pictures", fix="name one with --out")
    overrides = [word for word in names or () if word.startswith("dataset.")]
    names = [word for word in names or () if word not in overrides]
    words = _with([*overrides, *([f"plots={_plots(names)}"] if names else [])], device=device)
    watching = _watching(quiet=False)
    trained, _ = open_checkpoint(path, found, words, Parts(parts), data_dir, watching)
    make_folder(folder, ANOTHER_OUT)
    if not _draw(trained, trained.plan.plots, folder):
        raise SystemExit(1)


@app.command("data")
def preview(
    config: ConfigName,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where to put the pictures (default: previews/NAME in the runs folder)."
        ),
    ] = None,
    json: Json = False,
    runs_dir: RunsDir = RUNS,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
) -> None:
    """Show what a config's dataset holds: shapes, classes, balance, ranges, warnings, pictures."""
    from dlrun.config.loading import load_config
    from dlrun.config.lookup import find_config
    from dlrun.config.registry import Parts

    own_parts = Parts(parts)
    checked = load_config(find_config(config), _with(overrides, device="cpu"), own_parts)
    from dlrun import display
    from dlrun.results.preview import dataset_facts
    from dlrun.system.files import ANOTHER_OUT, make_folder
    from dlrun.system.strict_json import finite
    from dlrun.training.plan import make_plan
    from dlrun.training.suitability import suitable_plots
    from dlrun.training.trained import Trained

    plan = make_plan(checked, own_parts, data_dir)
    loaded = plan.load(watching=_watching(quiet=json))
    found = dataset_facts(plan, loaded)
    if json:
        display.say_json(finite(found))
        return
    display.preview(found)
    folder = out or runs_dir / "previews" / checked.name
    make_folder(folder, ANOTHER_OUT)
    hardware = plan.hardware(loaded)
    hardware.use()
    shown = Trained(plan, loaded, hardware, plan.model(), epoch=0)
    _draw(shown, suitable_plots(own_parts, plan.data, plan.layers, "of", "data"), folder)


@app.command()
def show(
    config: ConfigName,
    overrides: Overrides = None,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
    device: Device = None,
) -> None:
    """Show the resolved config and the model's layers, without training."""
    from dlrun.config.dumping import dump_config
    from dlrun.config.loading import load_config
    from dlrun.config.lookup import find_config
    from dlrun.config.registry import Parts

    own_parts = Parts(parts)
    checked = load_config(find_config(config), _with(overrides, device=device), own_parts)
    from dlrun import display
    from dlrun.training.plan import make_plan

    plan = make_plan(checked, own_parts, data_dir)
    display.say(dump_config(checked))
    display.layers_table(plan.layers, plan.data.input_shape)


@app.command("parts")
def list_parts(
    kind: Annotated[
        str | None, typer.Argument(metavar="[KIND]", help="One kind of part.", autocompletion=_complete_kind)
    ] = None,
    parts: PartsDir = None,
) -> None:
    """List every part with its options, types and defaults, and the keys of a config."""
    from dlrun import display
    from dlrun.config.keys import default_of, key_help
    from dlrun.config.option_types import describe
    from dlrun.config.registry import KINDS, REQUIRED, Parts
    from dlrun.errors import nearest

    if kind is not None and kind not in KINDS:
        raise UserError(f"there is no kind of part {kind!r}{nearest(kind, KINDS)}")
    own_parts = Parts(parts)
    for one in [kind] if kind else KINDS:
        listed = [own_parts.part(one, name) for name in own_parts.names(one)]
        display.parts_table(one, listed, describe, REQUIRED)
    if kind is None:
        rows = ((key, text, default_of(key)) for key, text in key_help().items())
        display.keys_table(
            (key, text, "" if default is REQUIRED else str(default)) for key, text, default in rows
        )


@app.command()
def sweep(
    config: Annotated[
        str | None,
        typer.Argument(
            metavar="[CONFIG]",
            help="A YAML file, or the name of a config that comes with dlrun.",
            autocompletion=_complete_config,
        ),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUES]...",
            help="Values to go through: 1e-4,1e-3 or log(1e-4,1e-1,7), linspace(0,0.5,6), 1..5.",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", help="Train the seeds 0 … N-1 of each.", min=1)
    ] = None,
    jobs: Annotated[
        str, typer.Option(metavar="N", help="How many runs train at once; auto: as the cores allow.")
    ] = "auto",
    random: Annotated[
        int | None, typer.Option(metavar="N", help="Draw N combinations instead of taking all.", min=1)
    ] = None,
    optuna: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Search: N combinations, each drawn by what was good. Needs Optuna.", min=1
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name the runs after this.")] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="What the settings are ranked by at the end.")
    ] = None,
    needed: Annotated[
        bool,
        typer.Option("--needed", help="Train no run that a finished one in the runs folder answers already."),
    ] = False,
    stack: Annotated[
        bool,
        typer.Option(
            "--stack",
            help="Train the seeds of a setting as one model where a trial finds that faster; its figures are "
            "then not bit for bit those that each has alone.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained and about how long it would take.")
    ] = False,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="SWEEP", help="Go on with a sweep where it stopped.")
    ] = None,
    runs_dir: RunsDir = RUNS,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print the sweep's folder and nothing else.")
    ] = False,
    json: Json = False,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
    device: Device = None,
) -> None:
    """Train a config with many values of some keys, as ordinary runs in one folder."""
    from dlrun import display
    from dlrun.config.lookup import find_config
    from dlrun.config.registry import Parts
    from dlrun.run_folders.sweep_folder import find_sweep
    from dlrun.sweeps.grid import settings_of_grid
    from dlrun.sweeps.workers import start_server
    from dlrun.system.strict_json import finite

    wanted = _jobs(jobs)
    if quiet and json:
        raise UserError("--quiet and --json cannot both be given", where="command line")
    own_parts = Parts(parts)
    chosen_seeds = range(seeds) if seeds else None
    found, space = None, None
    if resume is not None:
        if config or values or seeds or random or optuna or name or dry_run or needed or stack or device:
            fix = "beside it only --jobs, --metric, --parts, --data-dir and --runs-dir mean anything"
            raise UserError("--resume goes on with a sweep as it was begun", fix=fix)
        found = find_sweep(resume, runs_dir)
    elif config is None:
        raise UserError("name a CONFIG, or a sweep to --resume", where="command line")
    else:
        path, words = find_config(config), _with(values, device=device, name=name)
        if optuna is None:
            chosen = settings_of_grid(path, words, chosen_seeds, random, own_parts)
        elif random is not None or needed or metric:
            fix = "leave out --random, --needed and --metric; monitor=COLUMN says what is searched"
            raise UserError("--optuna draws by itself, by the monitored figure", fix=fix)
        else:
            from dlrun.sweeps.search import search_space

            space = search_space(path, words, chosen_seeds, own_parts)
            chosen = [space.setting]
    start_server()
    from dlrun.sweeps.estimate import estimate_time
    from dlrun.sweeps.planning import plan_sweep
    from dlrun.sweeps.sweep import keep_ranking, rank_sweep, train_sweep
    from dlrun.sweeps.views import HiddenSweep

    if found is None:
        answers = _finished(runs_dir) if needed else []
        prepared = plan_sweep(
            chosen,
            wanted,
            metric,
            own_parts,
            data_dir,
            _watching(quiet or json),
            space=space,
            times=optuna or 1,
            may_stack=stack,
        )
        if dry_run:
            if json:
                display.say_json(estimate_time(prepared, answers).plain())
            elif not quiet:
                display.dry_run(prepared, estimate_time(prepared, answers))
            return
        found = prepared.make(runs_dir, answers)
        del prepared  # whose data each worker reads for itself
    command = found.resume_command(parts)
    with _resumable(command):
        if quiet:
            display.say(str(found.folder))
        view = HiddenSweep() if quiet or json else display.Sweeping()
        ended = train_sweep(found, wanted or found.jobs, view, own_parts, data_dir)
        ranked = rank_sweep(found, metric, own_parts, display.warn)
        if json:
            display.say_json(finite(ended.plain() | {"results": ranked.plain() if ranked else None}))
        elif quiet:
            display.what_failed(ended, command)
        else:
            display.sweep_results(ended, ranked, command)
        if ranked:
            keep_ranking(found, ranked)
    raise SystemExit(ended.exit_code)


@contextmanager
def _resumable(command: str) -> Iterator[None]:
    """In here every failure comes with the command that goes on."""
    try:
        yield
    except UserError as error:
        error.resume = error.resume or command
        raise
    except Exception as error:
        note_resume(error, command)
        raise


@app.command()
def compare(
    named: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Runs by folder, start of the name, pattern such as 'spiral_*', or the folder of a sweep; "
            "with --where alone all runs.",
            autocompletion=_complete_run_or_sweep,
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Such as test_accuracy, best.test_accuracy or seconds."),
    ] = None,
    beside: Annotated[
        Literal["first", "best"] | None,
        typer.Option(help="Which setting the others are held against: of a sweep the best, else the first."),
    ] = None,
    where: Where = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the table as CSV.")] = False,
    json: Json = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Draw the curves into this PNG, PDF or SVG."),
    ] = None,
    runs_dir: RunsDir = RUNS,
    parts: PartsDir = None,
) -> None:
    """Say how far apart settings are over their seeds, and whether that is more than chance."""
    from dlrun import display
    from dlrun.config.registry import Parts
    from dlrun.run_folders.comparison import compare_runs
    from dlrun.run_folders.records import chosen_records, find_runs, runs_of, shared_metric, values_of
    from dlrun.run_folders.sweep_folder import all_runs_in
    from dlrun.system.strict_json import finite

    if as_csv and json:
        raise UserError("--csv and --json cannot both be given", where="command line")
    if not named and where is None:
        raise UserError(
            "name the runs to compare", fix="dlrun compare spiral_relu-001 spiral_relu-002, or 'spiral_*'"
        )
    if metric == "":
        raise UserError("an empty name names no column", where="--metric")
    if output and output.suffix.lower() not in PICTURES:
        raise UserError(
            f"{output} is no name of a picture", where="--output", fix=f"end it in {', '.join(PICTURES)}"
        )
    meant = [each for text in named or () for each in find_runs(text, runs_dir)]
    asked = runs_of(meant) if named else all_runs_in(runs_dir)[::-1]
    chosen = chosen_records(asked, where)
    if not chosen:
        raise UserError(f"of {len(asked)} runs there is none of which this holds", where=f"--where {where}")
    values = values_of(meant)
    ranked = bool(values) if beside is None else beside == "best"
    metric = shared_metric(meant) if metric is None else metric
    found = compare_runs(chosen, metric, ranked=ranked, parts=Parts(parts), values=values)
    if output:
        from dlrun.drawing.sweep_pictures import draw_curves

        if not draw_curves(found, output):
            raise UserError(
                f"{found.metric} has no curves: it is measured once",
                where="--output",
                fix="name a column of metrics.csv, such as --metric train_loss",
            )
    if json:
        display.say_json(finite(found.plain()))
    elif as_csv:
        display.comparison_csv(found)
    else:
        display.comparison(found)
        if output:
            display.say(str(output))


@app.command("runs")
def list_runs(
    where: Where = None,
    sort: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Order by a key or column; with - before it the largest first."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(metavar="KEY,KEY…", help="Show these keys and columns: optimizer.lr,train_accuracy."),
    ] = None,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Delete the runs of which --where holds, without it those that diverged or have nothing "
            "saved to go on from; never runs of a sweep. Asks first.",
        ),
    ] = False,
    yes: Yes = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """List the runs, newest first, with their status and figures."""
    from dlrun import display
    from dlrun.run_folders.conditions import parse_condition
    from dlrun.run_folders.deletion import refuse_to_delete
    from dlrun.run_folders.listing import overview, runs_in
    from dlrun.run_folders.records import chosen_records, matching, ordered, refuse_unknown
    from dlrun.run_folders.sweep_folder import all_runs_in, unbegun_sweeps

    if where is sort is columns is None and not prune:
        _list_all(runs_dir)
        return
    holds = parse_condition(where) if where is not None else None
    # What is deleted is never a part of a sweep.
    there = runs_in if prune or where is None else all_runs_in
    every = chosen_records(there(runs_dir))
    kept = matching(every, holds) if holds else every
    if sort is not None:
        kept = ordered(kept, sort)
    keys = list(dict.fromkeys(["run", *(columns or "").split(",")])) if columns is not None else []
    refuse_unknown(every, keys, "--columns")
    if prune and where is None:
        kept = [each for each in kept if each.run.is_worthless(each.summary)]
    folders = [each.run.folder for each in kept]
    if prune and where is None:
        folders += unbegun_sweeps(runs_dir)
    if not folders:
        what = "there is nothing to delete" if prune else "there are no such runs"
        display.say(f"{what} in {runs_dir}")
    elif keys and kept:
        display.columns_table(kept, keys)
    elif not prune:
        display.runs_table([overview(each.run, each.summary) | {"run": each.name} for each in kept])
    if prune and folders:
        for folder in folders:
            refuse_to_delete(folder, runs_dir)
        _delete(folders, yes)


def _list_all(runs_dir: Path) -> None:
    """The runs in a folder and the sweeps, newest first."""
    from dlrun import display
    from dlrun.run_folders.listing import overviews
    from dlrun.run_folders.sweep_folder import sweeps_in, unbegun_sweeps

    found, sweeps, cut_short = (
        overviews(runs_dir),
        sweeps_in(runs_dir),
        unbegun_sweeps(runs_dir),
    )
    if found:
        display.runs_table(found)
    if sweeps:
        display.sweeps_table(sweeps)
    for folder in cut_short:
        display.say_line(f"{folder.name} was never begun: dlrun rm {folder.name}")
    if not (found or sweeps or cut_short):
        display.say(f"there are no runs in {runs_dir}")


@app.command()
def rm(
    named: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Runs or sweeps.", autocompletion=_complete_run_or_sweep),
    ],
    yes: Yes = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Delete runs and sweeps, after naming them and asking."""
    from dlrun.run_folders.deletion import deletable

    folders = [deletable(text, runs_dir) for text in named]
    _delete(list({folder.resolve(): folder for folder in folders}.values()), yes)


def _delete(folders: list[Path], yes: bool) -> None:
    """Delete folders of runs and sweeps, after naming them and asking."""
    from dlrun import display
    from dlrun.run_folders.deletion import delete_folder, describe_folder

    count = f"{len(folders)} folder{'s' if len(folders) > 1 else ''}"
    display.say("to be deleted:")
    for folder in folders:
        display.say_line(f"  {folder}  {describe_folder(folder)}")
    if not yes:
        if sys.stdin is None or not sys.stdin.isatty():
            raise UserError(f"nobody is here to be asked whether to delete {count}", fix="say so with --yes")
        if not display.agreed(f"Delete {count}?"):
            display.say("nothing was deleted")
            raise SystemExit(1)
    for folder in folders:
        delete_folder(folder)
    display.say(f"deleted {count}")


@app.command()
def diff(
    first: RunName,
    second: RunName,
    json: Json = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Say what is not the same in two runs, and where their curves part."""
    from dlrun import display
    from dlrun.run_folders.differences import differences_between
    from dlrun.run_folders.locating import find_run
    from dlrun.run_folders.records import read_record
    from dlrun.system.strict_json import finite

    a, b = (read_record(find_run(name, runs_dir)) for name in (first, second))
    found = differences_between(a, b)
    if json:
        display.say_json(finite(found.plain()))
    else:
        display.difference(found)


@app.command()
def reproduce(
    run: RunName,
    tolerance: Annotated[
        float,
        typer.Option(
            metavar="SHARE", help="How far a figure of the last row may be from the one recorded.", min=0
        ),
    ] = 0.01,
    quiet: Quiet = False,
    json: Json = False,
    runs_dir: RunsDir = RUNS,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
) -> None:
    """Train a run again from its own folder, and say how near it comes; exit code 5 where it drifted."""
    from dlrun import display
    from dlrun.config.registry import Parts
    from dlrun.results.reproduction import reproduce_run
    from dlrun.run_folders.locating import find_run
    from dlrun.system.strict_json import finite
    from dlrun.training.views import HiddenTraining

    found = find_run(run, runs_dir)
    view = HiddenTraining() if quiet or json else display.Training()
    done = reproduce_run(found, runs_dir, tolerance, Parts(parts), data_dir, view, _watching(quiet or json))
    if json:
        display.say_json(finite(done.plain()))
    elif quiet:
        display.say(str(done.differences.second.run.folder))
        if done.verdict in ("drifted", "interrupted"):
            display.not_reproduced(done)
    else:
        display.reproduction(done)
    raise SystemExit(128 + done.signal if done.signal else 5 if done.verdict == "drifted" else 0)


def _finished(runs_dir: Path) -> list[Record]:
    """What the finished runs in a folder say, those of sweeps first, then by age, the newest last."""
    from dlrun.run_folders.records import read_record
    from dlrun.run_folders.run import DONE
    from dlrun.run_folders.sweep_folder import all_runs_in, can_borrow

    every = [run for run in reversed(all_runs_in(runs_dir)) if can_borrow(run, runs_dir)]
    found = map(read_record, every)
    return [each for each in found if each.summary.get("status") in DONE]


def _jobs(text: str) -> int | None:
    """How many runs train at once; None for as many as fit."""
    if text == "auto":
        return None
    from dlrun.run_folders.sweep_folder import MOST_JOBS

    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:5]) <= MOST_JOBS:
        fix = f"write a number from 1 to {MOST_JOBS:,}, or leave it out"
        raise UserError(f"--jobs {text[:20]!r} is no number of runs", fix=fix)
    return int(text)


def _with(overrides: list[str] | None, **options: str | None) -> list[str]:
    """KEY=VALUE words, with those that options stand for behind them."""
    import json

    return [
        *(overrides or []),
        *(f"{key}={json.dumps(value)}" for key, value in options.items() if value is not None),
    ]


def _watching(quiet: bool) -> Progress:
    """How the progress of what is done before training is shown."""
    from dlrun import display
    from dlrun.system.progress import no_progress

    return no_progress if quiet else display.progress


def _checkpoint(run: str, which: str, runs_dir: Path) -> tuple[Path, Run | None]:
    """The checkpoint file that RUN_OR_CHECKPOINT names, and the run it belongs to, if it names one."""
    from dlrun import display
    from dlrun.run_folders.locating import find_run

    given = Path(run)
    if given.is_file() or given.suffix == ".pt":
        return given, None
    found = find_run(run, runs_dir)
    if which == "best" and found.last.exists() and not found.best.exists():
        display.warn("there is no best.pt yet; this is last.pt")
        return found.last, found
    return found.best if which == "best" else found.last, found


def _plots(words: list[str]) -> str:
    """NAME and NAME.OPTION=VALUE words as the YAML list of plots that they mean."""
    options: dict[str, list[str]] = {}
    for word in words:
        key, _, value = word.partition("=")
        name, _, option = key.partition(".")
        options.setdefault(name, []).extend([f"{option}: {value}"] if option else [])
    return "[" + ", ".join("{" + ", ".join([f"name: {n}", *o]) + "}" for n, o in options.items()) + "]"


def _draw(trained: Trained, plots: list[Choice], folder: Path) -> bool:
    """Draw some plots into a folder and print each file's path; whether all could be drawn."""
    from dlrun import display
    from dlrun.training.pictures import draw_plot

    drawn = [draw_plot(trained, choice, folder / f"{choice.name}.png", display.warn) for choice in plots]
    for path in filter(None, drawn):
        display.say(str(path))
    return all(drawn)


def _view(quiet: bool, run: Run) -> TrainingView:
    """What is shown while training; for --quiet the run folder at once, so that it is known even of a
    run that fails.
    """
    from dlrun import display
    from dlrun.training.views import HiddenTraining

    if not quiet:
        return display.Training()
    display.say(str(run.folder))
    return HiddenTraining()


def _conclude(plan: Plan, outcome: Outcome, quiet: bool) -> NoReturn:
    from dlrun import display
    from dlrun.training.experiment import resume_command

    if outcome.summary.get("already_complete") and not quiet:
        display.say(f"already complete after epoch {outcome.summary['epochs']}: {outcome.run.folder}")
    elif quiet:
        display.what_went_wrong(outcome.summary, resume_command(plan, outcome.run))
    else:
        command = resume_command(plan, outcome.run)
        display.results(outcome.summary, str(outcome.run.folder), command)
    raise SystemExit(outcome.exit_code)
