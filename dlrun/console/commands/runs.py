"""`dlrun runs`, `dlrun rm`, `dlrun diff` and `dlrun reproduce`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlrun.console.commands.arguments import (
    DataDir,
    Json,
    PartsDir,
    Plain,
    Quiet,
    RunName,
    RunsDir,
    SeveralRunsDirs,
    Where,
    Yes,
    expanded_text,
    parts_of,
    progress_unless,
)
from dlrun.console.commands.completion import complete_column, complete_run_or_sweep
from dlrun.console.commands.folders import DATA, RUNS, each_once
from dlrun.errors import UserError, in_full

if TYPE_CHECKING:
    from dlrun.run_folders.records import Record


def list_runs(
    where: Where = None,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Sort by a key or column; -KEY sorts in descending order.",
            autocompletion=complete_column,
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(metavar="KEY,KEY…", help="Show these keys and columns: optimizer.lr,train_accuracy."),
    ] = None,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Delete the runs selected by --where; without it those that diverged or have no checkpoint "
            "to resume from. Never deletes runs of a sweep. Asks first.",
        ),
    ] = False,
    yes: Yes = False,
    json: Json = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print a row for each run, with its config and figures, as CSV.")
    ] = False,
    runs_dir: SeveralRunsDirs = None,
) -> None:
    """List the runs with their status and figures, newest first."""
    folders_of_runs = each_once(runs_dir)
    if sum((prune, json, as_csv)) > 1:
        raise UserError("only one of --json, --csv and --prune can be given", where="command line")
    if where is sort is columns is None and not (prune or json or as_csv):
        _list_all(folders_of_runs)
        return
    from dlrun.console.run_list import print_columns, print_runs, print_runs_csv
    from dlrun.console.streams import say_sentence
    from dlrun.run_folders.conditions import parse_condition
    from dlrun.run_folders.deletion import refuse_to_delete
    from dlrun.run_folders.listing import names_apart, overview, runs_in
    from dlrun.run_folders.records import chosen_records, matching, ordered, refuse_unknown
    from dlrun.run_folders.sweep_finding import all_runs_in, unbegun_sweeps

    holds = parse_condition(where) if where is not None else None
    # Runs of a sweep are never pruned.
    there = runs_in if prune or where is None else all_runs_in
    every = chosen_records(there(*folders_of_runs))
    kept = matching(every, holds) if holds else every
    if sort is not None:
        kept = ordered(kept, sort)
    keys = list(dict.fromkeys(["run", *(columns or "").split(",")])) if columns is not None else []
    refuse_unknown(every, keys, "--columns")
    if prune and where is None:
        kept = [each for each in kept if each.run.is_worthless(each.summary)]
    folders = [each.run.folder for each in kept]
    if prune and where is None:
        folders += unbegun_sweeps(*folders_of_runs)
    names = names_apart((each.name, each.run.folder) for each in kept)
    if json:
        _say_all_json(kept, names, keys, folders_of_runs if where is None else [])
    elif as_csv:
        print_runs_csv(kept, names, keys or None)
    elif not folders:
        what = "there is nothing to delete" if prune else "there are no such runs"
        say_sentence(f"{what} in {', '.join(map(in_full, folders_of_runs))}")
    elif keys and kept:
        print_columns(kept, names, keys)
    elif not prune:
        named = zip(kept, names, strict=True)
        print_runs([overview(each.run, each.summary) | {"run": name} for each, name in named])
    if prune and folders:
        for folder in folders:
            refuse_to_delete(folder, folder.parent)
        _delete(folders, yes)


def _list_all(folders_of_runs: list[Path]) -> None:
    """Print the runs and the sweeps in some folders, newest first."""
    from dlrun.console.run_list import print_runs, print_sweeps
    from dlrun.console.streams import say_line, say_sentence
    from dlrun.run_folders.listing import overviews
    from dlrun.run_folders.sweep_finding import sweeps_in, unbegun_sweeps

    found, sweeps, cut_short = (
        overviews(*folders_of_runs),
        sweeps_in(*folders_of_runs),
        unbegun_sweeps(*folders_of_runs),
    )
    if found:
        print_runs(found)
    if sweeps:
        print_sweeps(sweeps)
    for folder in cut_short:
        say_line(f"{folder.name} was never started: dlrun rm {folder.name}")
    if not (found or sweeps or cut_short):
        say_sentence(f"there are no runs in {', '.join(map(in_full, folders_of_runs))}")


def _say_all_json(
    kept: Sequence[Record], names: Sequence[str], keys: Sequence[str], folders_of_runs: Sequence[Path]
) -> None:
    """Print runs, whole or with some keys alone, and the sweeps in some folders as one JSON object."""
    from dlrun.console.streams import say_json
    from dlrun.run_folders.run_rows import rows_of_runs, whole_run
    from dlrun.run_folders.sweep_finding import sweeps_in, unbegun_sweeps
    from dlrun.system.strict_json import finite

    whole = [whole_run(each, name) for each, name in zip(kept, names, strict=True)] if not keys else []
    sweeps = [
        {
            "sweep": sweep.name,
            "folder": str(sweep.folder),
            "metric": sweep.metric,
            "runs": len(sweep.trials),
            "done": len(sweep.trials) - len(sweep.unfinished()),
        }
        for sweep in sweeps_in(*folders_of_runs)
    ]
    found = {"runs": whole or rows_of_runs(kept, names, keys), "sweeps": sweeps}
    say_json(finite(found | {"never_started": [str(each) for each in unbegun_sweeps(*folders_of_runs)]}))


def rm(
    named: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Runs or sweeps, or patterns of them such as 'base-*'.",
            parser=expanded_text,
            autocompletion=complete_run_or_sweep,
        ),
    ],
    yes: Yes = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Delete runs and sweeps, after listing them and asking."""
    from dlrun.run_folders.deletion import deletable

    folders = [folder for text in named for folder in deletable(text, runs_dir)]
    _delete(list({folder.resolve(): folder for folder in folders}.values()), yes)


def _delete(folders: list[Path], yes: bool) -> None:
    """Delete folders of runs and sweeps, after listing them and asking."""
    from dlrun.console.streams import agreed, say, say_line
    from dlrun.run_folders.deletion import delete_folder, describe_folder

    count = f"{len(folders)} folder{'s' if len(folders) > 1 else ''}"
    say("to be deleted:")
    for folder in folders:
        say_line(f"  {folder}  {describe_folder(folder)}")
    if not yes:
        if sys.stdin is None or not sys.stdin.isatty():
            raise UserError(f"cannot ask whether to delete {count}: stdin is not a terminal", fix="add --yes")
        if not agreed(f"Delete {count}?"):
            say("nothing was deleted")
            raise SystemExit(1)
    for folder in folders:
        delete_folder(folder)
    say(f"deleted {count}")


def diff(
    first: RunName,
    second: RunName,
    json: Json = False,
    runs_dir: SeveralRunsDirs = None,
) -> None:
    """Show the differences between two runs, and the epoch from which their figures differ."""
    from dlrun.console.differences import print_differences
    from dlrun.console.streams import say_json
    from dlrun.run_folders.differences import differences_between
    from dlrun.run_folders.finding import find_run_among
    from dlrun.run_folders.records import read_record
    from dlrun.system.strict_json import finite

    parents = each_once(runs_dir)
    a, b = (read_record(find_run_among(name, parents)) for name in (first, second))
    found = differences_between(a, b)
    if json:
        say_json(finite(found.plain()))
    else:
        print_differences(found)


def reproduce(
    run: RunName,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="dataset.path=FILE", help="The place of the data, if they have moved."),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(
            metavar="SHARE", help="The relative difference allowed for the figures of the last row.", min=0
        ),
    ] = 0.01,
    quiet: Quiet = False,
    json: Json = False,
    runs_dir: RunsDir = RUNS,
    plain: Plain = False,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
) -> None:
    """Train a run again from its folder and compare the figures; exit code 5 if they drifted."""
    from dlrun.console.differences import print_not_reproduced, print_reproduction
    from dlrun.console.streams import say, say_json
    from dlrun.console.training_view import TrainingDisplay
    from dlrun.results.reproduction import reproduce_run
    from dlrun.run_folders.finding import find_run
    from dlrun.system.strict_json import finite
    from dlrun.training.views import HiddenTraining

    found = find_run(run, runs_dir)
    view = HiddenTraining() if quiet or json else TrainingDisplay()
    own_parts, progress = parts_of(parts, quiet=quiet), progress_unless(quiet or json)
    words = overrides or []
    done = reproduce_run(found, runs_dir, tolerance, own_parts, data_dir, view, progress, words)
    if json:
        say_json(finite(done.plain()))
    elif quiet:
        say(str(done.differences.second.run.folder))
        if done.verdict in ("drifted", "interrupted"):
            print_not_reproduced(done)
    else:
        print_reproduction(done)
    raise SystemExit(128 + done.signal if done.signal else 5 if done.verdict == "drifted" else 0)
