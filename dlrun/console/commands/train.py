"""`dlrun train` and `dlrun resume`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from dlrun.console.commands.arguments import (
    Check,
    ConfigName,
    DataDir,
    Device,
    MaxTime,
    Overrides,
    PartsDir,
    Plain,
    Processes,
    Quiet,
    Redraw,
    RunName,
    RunsDir,
    parts_of,
    progress_unless,
    seconds_named,
    warn_of_notes,
    with_options,
    with_seeds,
)
from dlrun.console.commands.completion import complete_run
from dlrun.console.commands.folders import DATA, RUNS
from dlrun.console.commands.sweeping import planned_sweep, train_all
from dlrun.errors import UserError, in_words
from dlrun.system.processes import started_together

_END = "DLRUN_MAX_TIME_ENDS"  # the time of time.time() at which the --max-time of several processes is over

if TYPE_CHECKING:
    from dlrun.config.keys import Config
    from dlrun.config.registry import Parts
    from dlrun.data.loaded import Loaded
    from dlrun.run_folders.run import Run
    from dlrun.training.plan import Plan
    from dlrun.training.run_writer import Outcome
    from dlrun.training.views import TrainingView
    from dlrun.training.world import World


def train(
    config: ConfigName,
    overrides: Overrides = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Train only this seed.")] = None,
    seeds: Annotated[int | None, typer.Option(metavar="N", help="Train the seeds 0 … N-1.", min=1)] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Cross-validate: train a run for each of N folds, in one folder.",
            min=2,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name of the run folder, before its number.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="Begin with the weights of a run or a file that fit, as architecture.weights=RUN does.",
            autocompletion=complete_run,
        ),
    ] = None,
    runs_dir: RunsDir = RUNS,
    stop_after: Annotated[
        int | None, typer.Option(metavar="N", help="Pause after epoch N; `dlrun resume` continues.", min=1)
    ] = None,
    max_time: MaxTime = None,
    processes: Processes = None,
    or_resume: Annotated[
        bool,
        typer.Option(
            "--or-resume",
            help="Go on with the latest run of this name, if there is one; the same command then trains, "
            "goes on, or finds that all is done.",
        ),
    ] = False,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Only try it, with two batches: train, evaluate, save and draw, and keep nothing.",
        ),
    ] = False,
    redraw: Redraw = False,
    check: Check = False,
    quiet: Quiet = False,
    plain: Plain = False,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
    device: Device = None,
) -> None:
    """Train a config and write everything to a new run folder."""
    from dlrun.config.dumping import dump_config
    from dlrun.config.judging import with_judged_claims
    from dlrun.config.keys import WEIGHTS
    from dlrun.config.loading import load_config
    from dlrun.config.lookup import find_config

    if source is not None and any(word.startswith(f"{WEIGHTS}=") for word in overrides or ()):
        raise UserError(f"--from and {WEIGHTS}=… cannot both be given", where="command line")
    stop_at = _end_of(max_time)
    words = with_options(overrides, **{"device": device, "name": name, WEIGHTS: source})
    words += [f"processes={processes}"] if processes else []
    words = with_seeds(words, seed, seeds)
    own_parts = parts_of(parts, quiet=quiet)
    path = find_config(config)
    of_one = {"--stop-after": stop_after is not None, "--max-time": max_time is not None, "--watch": redraw}
    given = of_one | {"--or-resume": or_resume}
    if quick and any(given.values()):
        besides = in_words([option for option, is_given in given.items() if is_given])
        raise UserError("--quick is a run of its own", where="command line", fix=f"leave {besides} out")
    if folds is not None:
        from dlrun.sweeps.grid import settings_of_folds

        if quick:
            fix = f"try one fold: --quick dataset.folds={folds} dataset.fold=0"
            raise UserError(
                "--quick tries one run, and --folds trains several", where="command line", fix=fix
            )
        if any(of_one.values()):
            besides = in_words([option for option, is_given in of_one.items() if is_given])
            what = f"--folds trains several runs and takes no {besides}"
            instead = "; the key max_time bounds the time of each" * (max_time is not None)
            raise UserError(what, where="command line", fix=f"leave {besides} out{instead}")
        settings = settings_of_folds(path, words, folds, own_parts, check=check)
        _warn_of_sweep(path, quiet=quiet)
        prepared = planned_sweep(settings, own_parts, data_dir, runs_dir, quiet=quiet)
        earlier = None
        if or_resume:
            from dlrun.sweeps.earlier import earlier_sweep

            earlier = earlier_sweep(prepared, runs_dir, own_parts)
        found = earlier or prepared.make(runs_dir)
        command = found.resume_command(parts)
        raise SystemExit(train_all(found, own_parts, data_dir, command, quiet=quiet))
    checked = with_judged_claims(
        load_config(path, words, own_parts), words, lambda: load_config(path, (), own_parts), check=check
    )
    from dlrun.run_folders.locating import create_only_run, create_run, run_called
    from dlrun.tracking.trackers import refuse_missing
    from dlrun.training.experiment import resume_command, train_run
    from dlrun.training.launching import (
        launch,
        processes_of,
        refuse_draws,
        refuse_processes,
        tell_launcher,
    )
    from dlrun.training.plan_making import make_plan
    from dlrun.training.plan_trials import try_on
    from dlrun.training.teachers import with_runs_found
    from dlrun.training.weights_file import weights_named

    if source is not None and weights_named(checked, own_parts) is None:
        what = f"--from is not for {checked.architecture.name}, which has an option weights of its own"
        raise UserError(what, where="command line")
    refuse_missing(checked)
    checked, progress = with_runs_found(checked, own_parts, runs_dir), progress_unless(quiet)
    if quick:
        if several := started_together(os.environ):
            what = f"--quick tries a run in one process, and {several} were started (WORLD_SIZE)"
            raise UserError(what, where="environment", fix="start it without torchrun")
        _try_quickly(checked, own_parts, data_dir, quiet=quiet)
        return
    latest = run_called(runs_dir, checked.name) if or_resume else None
    is_begun = latest is not None and latest.config.exists()
    with _together(checked, own_parts, data_dir) as world:
        plan = make_plan(checked, own_parts, data_dir)
        refuse_processes(plan, processes_of(checked))
        loaded = None
        if not is_begun:
            loaded = plan.load(progress=progress)  # let this fail before a run folder exists
            try_on(plan, loaded, progress)
            refuse_draws(plan, loaded, processes_of(checked))
        if world is None:
            del loaded, plan  # the processes have their own
            raise SystemExit(launch(sys.argv[1:], processes_of(checked), _ends_at(stop_at)))
        run, create = latest, create_only_run if or_resume else create_run
        if run is None or not is_begun:
            run = create(runs_dir, checked.name, dump_config(plan.config))
        tell_launcher(run, resume_command(plan, run))
        _warn_of_sweep(path, quiet=quiet)
        warn_of_notes([] if quiet else [checked])
        view = _view(quiet, run)
        _say_parts(world, plan, loaded, quiet=quiet)
        outcome = train_run(
            plan,
            run,
            view,
            loaded=loaded,
            stop_after=stop_after,
            stop_at=stop_at,
            redraw=redraw,
            progress=progress,
            world=world,
            lets_go=True,
        )
    _conclude(plan, outcome, quiet)


def _end_of(max_time: str | None) -> float | None:
    """The time of time.monotonic() at which --max-time is over, counted from now; None without it.

    Raises UserError if it is no duration.
    """
    if max_time is None:
        return None
    seconds = seconds_named(max_time, "--max-time")
    begun_earlier = os.environ.get(_END)  # by the launcher of this process
    return time.monotonic() + (float(begun_earlier) - time.time() if begun_earlier else seconds)


def _ends_at(stop_at: float | None) -> dict[str, str]:
    """The variable by which other processes know the end of --max-time, a time of time.monotonic()."""
    return {} if stop_at is None else {_END: str(time.time() + stop_at - time.monotonic())}


def _say_parts(world: World, plan: Plan, loaded: Loaded | None, *, quiet: bool) -> None:
    """Say how several processes share a batch, and that the config asks for another number of them."""
    from dlrun.console.streams import say_sentence, warn
    from dlrun.training.launching import said_world

    asked = plan.config.processes
    if quiet or world.is_alone:
        return
    batch = plan.recipe.sampling.size(len(loaded["train"])) if loaded else plan.config.batch_size
    say_sentence(said_world(world, batch))
    if asked not in ("auto", 1, world.size):
        warn(f"{world.size} processes were started together, and train it, not the {asked} of the config")


@contextmanager
def _together(config: Config, parts: Parts, data_dir: Path) -> Iterator[World | None]:
    """The world in which this process trains as the first; None if several have to be started.

    Another process than the first follows it, and ends.
    """
    from dlrun.training.following import follow
    from dlrun.training.launching import joined, processes_of

    if not started_together(os.environ) and processes_of(config) > 1:
        yield None
        return
    with joined(config) as world:
        if world.rank:
            follow(world, parts, data_dir)
            raise SystemExit
        yield world


def _try_quickly(config: Config, parts: Parts, data_dir: Path, *, quiet: bool) -> None:
    """Go through a whole run of a config in small, in a folder that is deleted again."""
    from tempfile import TemporaryDirectory

    from dlrun.console.numbers import duration
    from dlrun.console.streams import say_sentence
    from dlrun.console.training_view import TrainingDisplay
    from dlrun.results.quick_run import quick_run
    from dlrun.training.views import HiddenTraining

    with TemporaryDirectory(prefix="dlrun-quick-") as folder, _without_mention(folder):
        view = HiddenTraining() if quiet else TrainingDisplay()
        done = quick_run(config, parts, data_dir, Path(folder), view, progress_unless(quiet))
    if not quiet:
        pictures = f", {done.pictures} picture{'s' * (done.pictures != 1)}" * bool(done.pictures)
        each = (
            f"{done.steps} step{'s' * (done.steps != 1)}, {done.evaluated} evaluated, a checkpoint{pictures}"
        )
        say_sentence(f"quick: {each} in {duration(done.seconds)}; nothing is kept")


@contextmanager
def _without_mention(folder: str) -> Iterator[None]:
    """Leave a folder that is deleted afterwards out of the exception that ends this context."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "__notes__"):  # such as the command that resumes a run
            error.__notes__ = [note for note in error.__notes__ if folder not in note]
        if isinstance(error, UserError):
            for said in ("where", "fix", "resume"):
                if folder in getattr(error, said):
                    setattr(error, said, "")
        raise


def _warn_of_sweep(path: Path, *, quiet: bool) -> None:
    """Say that values under `sweep:` in a config have no effect."""
    from dlrun.config.keys import SWEEP_KEY
    from dlrun.config.loading import read_config
    from dlrun.console.streams import warn

    if not quiet and SWEEP_KEY in read_config(path).value:
        warn(f"the values under {SWEEP_KEY}: are only for dlrun sweep; this trains the config without them")


def resume(
    run: RunName,
    overrides: Overrides = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Refuse, with exit code 4, if threads, device, PyTorch or machine have changed, because the "
            "last bits of results depend on them; without --strict a warning says so.",
        ),
    ] = False,
    max_time: MaxTime = None,
    processes: Processes = None,
    runs_dir: RunsDir = RUNS,
    redraw: Redraw = False,
    check: Check = False,
    quiet: Quiet = False,
    plain: Plain = False,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
    device: Device = None,
) -> None:
    """Continue a run where it stopped; epochs=… may be larger than before."""
    from dlrun.config.judging import with_judged_claims
    from dlrun.config.loading import load_run_config
    from dlrun.run_folders.finding import find_run

    found, own_parts = find_run(run, runs_dir), parts_of(parts, quiet=quiet)
    stop_at = _end_of(max_time)
    words = with_options(overrides, device=device)
    words += [f"processes={processes}"] if processes else []
    checked = with_judged_claims(
        load_run_config(found.config, words, own_parts),
        words,
        lambda: load_run_config(found.config, (), own_parts),
        check=check,
    )
    from dlrun.training.experiment import resume_command, train_run
    from dlrun.training.launching import launch, processes_of, refuse_processes, tell_launcher
    from dlrun.training.plan_making import make_plan
    from dlrun.training.teachers import with_teacher_found

    checked = with_teacher_found(checked, own_parts, runs_dir)
    with _together(checked, own_parts, data_dir) as world:
        plan = make_plan(checked, own_parts, data_dir)
        refuse_processes(plan, processes_of(checked))
        if world is None:
            raise SystemExit(launch(sys.argv[1:], processes_of(checked), _ends_at(stop_at)))
        tell_launcher(found, resume_command(plan, found))
        view, progress = _view(quiet, found), progress_unless(quiet)
        _say_parts(world, plan, None, quiet=quiet)
        outcome = train_run(
            plan,
            found,
            view,
            stop_at=stop_at,
            redraw=redraw,
            strict=strict,
            progress=progress,
            world=world,
            lets_go=True,
        )
    _conclude(plan, outcome, quiet)


def _view(quiet: bool, run: Run) -> TrainingView:
    """The display of the training; with --quiet only the run folder, printed at once so that it is known even
    if the run fails.
    """
    from dlrun.console.streams import say
    from dlrun.console.training_view import TrainingDisplay
    from dlrun.training.views import HiddenTraining

    if not quiet:
        return TrainingDisplay()
    say(str(run.folder))
    return HiddenTraining()


def _conclude(plan: Plan, outcome: Outcome, quiet: bool) -> NoReturn:
    from dlrun.console.streams import say_sentence
    from dlrun.console.training_results import print_results, print_what_went_wrong
    from dlrun.training.experiment import command_on, resume_command

    run, command = outcome.run, resume_command(plan, outcome.run)
    if outcome.summary.get("already_complete") and not quiet:
        say_sentence(f"already complete after epoch {outcome.summary['epochs']}: {run.folder}")
    elif quiet:
        print_what_went_wrong(outcome.summary, command)
    else:
        print_results(outcome.summary, str(run.folder), command, command_on(plan, "eval", _short_name(run)))
    raise SystemExit(outcome.exit_code)


def _short_name(run: Run) -> str:
    """The name `last` for the newest run of runs/, for others the folder."""
    from dlrun.run_folders.listing import runs_in

    newest = runs_in(RUNS)[:1] if run.folder.parent == RUNS else []
    return "last" if newest and newest[0].folder == run.folder else str(run.folder)
