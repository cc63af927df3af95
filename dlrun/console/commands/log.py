"""`dlrun log`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from dlrun.console.commands.arguments import SeveralRunsDirs, expanded_text
from dlrun.console.commands.completion import complete_run_or_sweep
from dlrun.console.commands.folders import each_once


def log(
    named: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="A run or a sweep by its folder or the start of its name, or `last`; several are logged.",
            parser=expanded_text,
            autocompletion=complete_run_or_sweep,
        ),
    ],
    to: Annotated[
        Literal["tensorboard", "mlflow", "wandb"] | None,
        typer.Option("--to", metavar="tensorboard|mlflow|wandb", help="The tracker; it has to be named."),
    ] = None,
    runs_dir: SeveralRunsDirs = None,
) -> None:
    """Log runs to a tracker, with settings, figures, pictures, machine and versions.

    A run that is logged again is the same run there, with the epochs that it had not yet. The tracker's own
    variables say where it is, such as MLFLOW_TRACKING_URI and WANDB_PROJECT; files of TensorBoard are in the
    run's folder. The key `track` of a config has runs logged while they train.
    """
    from dlrun.console.streams import say_sentence, warn
    from dlrun.errors import UserError
    from dlrun.run_folders.finding import find_runs_among
    from dlrun.run_folders.records import runs_of, some
    from dlrun.tracking.trackers import TITLES, is_installed, log_run, remedy, said_missing

    if to is None:
        raise UserError("no tracker is named", fix="add --to tensorboard, --to mlflow or --to wandb")
    if not is_installed(to):
        raise UserError(said_missing(to), fix=remedy(to))
    parents = each_once(runs_dir)
    found = runs_of(each for text in named for each in find_runs_among(text, parents))
    runs = [*{run.folder.resolve(): run for run in found}.values()]
    begun = [run for run in runs if run.has_rows()] if len(runs) > 1 else runs
    if left := [run.name for run in runs if run not in begun]:
        warn(f"left out, as there is no epoch yet: {some(left)}")
    for run in begun:
        tracker, content = log_run(run, to)
        for note in tracker.notes:
            warn(note)
        say_sentence(f"{content.name}: epoch {content.epochs} in {TITLES[to]}, {tracker.place}")
