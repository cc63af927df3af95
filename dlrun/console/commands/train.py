"""`dlrun train` and `dlrun resume`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from dlrun.console.commands.arguments import (
    Check,
    ConfigName,
    DataDir,
    Device,
    Overrides,
    PartsDir,
    Plain,
    Quiet,
    Redraw,
    RunName,
    RunsDir,
    parts_of,
    progress_unless,
    warn_of_notes,
    with_options,
    with_seeds,
)
from dlrun.console.commands.completion import complete_run
from dlrun.console.commands.folders import DATA, RUNS
from dlrun.errors import (
    UserError,
)

if TYPE_CHECKING:
    from dlrun.run_folders.run import Run
    from dlrun.training.plan import Plan
    from dlrun.training.run_writer import Outcome
    from dlrun.training.views import TrainingView


def train(
    config: ConfigName,
    overrides: Overrides = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Train only this seed.")] = None,
    seeds: Annotated[int | None, typer.Option(metavar="N", help="Train the seeds 0 … N-1.", min=1)] = None,
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
    from dlrun.config.keys import SWEEP_KEY, WEIGHTS
    from dlrun.config.loading import load_config, read_config
    from dlrun.config.lookup import find_config

    if source is not None and any(word.startswith(f"{WEIGHTS}=") for word in overrides or ()):
        raise UserError(f"--from and {WEIGHTS}=… cannot both be given", where="command line")
    words = with_options(overrides, **{"device": device, "name": name, WEIGHTS: source})
    words = with_seeds(words, seed, seeds)
    own_parts = parts_of(parts, quiet=quiet)
    path = find_config(config)
    checked = with_judged_claims(
        load_config(path, words, own_parts), words, lambda: load_config(path, (), own_parts), check=check
    )
    from dlrun.console.streams import warn
    from dlrun.run_folders.locating import create_run
    from dlrun.training.experiment import train_run
    from dlrun.training.plan_making import make_plan
    from dlrun.training.plan_trials import try_on
    from dlrun.training.teachers import with_runs_found
    from dlrun.training.weights_file import weights_named

    if source is not None and weights_named(checked, own_parts) is None:
        what = f"--from is not for {checked.architecture.name}, which has an option weights of its own"
        raise UserError(what, where="command line")
    checked, progress = with_runs_found(checked, own_parts, runs_dir), progress_unless(quiet)
    plan = make_plan(checked, own_parts, data_dir)
    loaded = plan.load(progress=progress)  # let this fail before a run folder exists
    try_on(plan, loaded, progress)
    run = create_run(runs_dir, checked.name, dump_config(plan.config))
    if not quiet and SWEEP_KEY in read_config(path).value:
        warn(f"the values under {SWEEP_KEY}: are only for dlrun sweep; this trains the config without them")
    warn_of_notes([] if quiet else [checked])
    view = _view(quiet, run)
    outcome = train_run(plan, run, view, loaded=loaded, stop_after=stop_after, redraw=redraw)
    _conclude(plan, outcome, quiet)


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
    from dlrun.run_folders.locating import find_run

    found, own_parts = find_run(run, runs_dir), parts_of(parts, quiet=quiet)
    words = with_options(overrides, device=device)
    checked = with_judged_claims(
        load_run_config(found.config, words, own_parts),
        words,
        lambda: load_run_config(found.config, (), own_parts),
        check=check,
    )
    from dlrun.training.experiment import train_run
    from dlrun.training.plan_making import make_plan
    from dlrun.training.teachers import with_teacher_found

    checked = with_teacher_found(checked, own_parts, runs_dir)
    plan = make_plan(checked, own_parts, data_dir)
    view, progress = _view(quiet, found), progress_unless(quiet)
    outcome = train_run(plan, found, view, redraw=redraw, strict=strict, progress=progress)
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
    from dlrun.console.streams import say
    from dlrun.console.training_results import print_results, print_what_went_wrong
    from dlrun.training.experiment import command_on, resume_command

    run, command = outcome.run, resume_command(plan, outcome.run)
    if outcome.summary.get("already_complete") and not quiet:
        say(f"already complete after epoch {outcome.summary['epochs']}: {run.folder}")
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
