"""`dlrun report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlrun.console.commands.arguments import PartsDir, SeveralRunsDirs, expanded, expanded_text, parts_of
from dlrun.console.commands.completion import complete_column, complete_run_or_sweep
from dlrun.console.commands.folders import each_once
from dlrun.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlrun.console.report_blocks import Report
    from dlrun.run_folders.run import Run
    from dlrun.run_folders.sweep_folder import Sweep

PAGES = (".html", ".htm")


def report(
    named: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="A run or a sweep by its folder or the start of its name, or `last`; several are compared.",
            parser=expanded_text,
            autocompletion=complete_run_or_sweep,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|DIR",
            parser=expanded,
            help="The HTML file, or of --markdown the folder (default: RUN-report.html or RUN-report).",
        ),
    ] = None,
    markdown: Annotated[
        bool,
        typer.Option("--markdown", help="Write a model card: a folder with README.md and the pictures."),
    ] = False,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Compare several runs by this column: test_accuracy, best.test_accuracy, seconds.",
            autocompletion=complete_column,
        ),
    ] = None,
    runs_dir: SeveralRunsDirs = None,
    parts: PartsDir = None,
) -> None:
    """Write a run, a sweep or a comparison of runs as one HTML file that needs no network.

    It has the figures beside baselines, claims, curves, pictures, evaluations by `dlrun eval`, seeds, data,
    model, config, and how to repeat it, all of it from the folders of the runs.
    """
    from dlrun.console.report_page import write_card, write_page
    from dlrun.console.streams import say, warn
    from dlrun.run_folders.finding import find_runs_among

    if output and not markdown and output.suffix.lower() not in PAGES:
        fix = f"end it in {PAGES[0]}, or add --markdown to name a folder"
        raise UserError(f"{output} is not the name of an HTML file", where="--output", fix=fix)
    if output and markdown and output.suffix.lower() in (*PAGES, ".md"):
        fix = "name a folder: README.md and the pictures are written into it"
        raise UserError(f"{output} is the name of a file", where="--output", fix=fix)
    parents = each_once(runs_dir)
    found = list({e.folder.resolve(): e for text in named for e in find_runs_among(text, parents)}.values())
    made = _report_of(found, metric, parts, named)
    usual = f"{found[0].name}{'-and-others' if len(found) > 1 else ''}-report"
    if markdown:
        say(str(write_card(made, output or Path(usual))))
        return
    path = output or Path(f"{usual}.html")
    for line in write_page(made, path):
        warn(line)
    say(str(path))


def _report_of(
    found: Sequence[Run | Sweep], metric: str | None, folder: Path | None, asked: Sequence[str]
) -> Report:
    """The report of a run, or of several runs or sweeps, compared. Raises UserError if they cannot be."""
    from dlrun.console.comparison_report import report_of_several
    from dlrun.console.report_commands import commands_for
    from dlrun.console.run_report import report_of_run
    from dlrun.run_folders.comparison import compare_runs
    from dlrun.run_folders.records import chosen_records, read_record, runs_of, shared_metric, values_of
    from dlrun.run_folders.run import Run

    parts = parts_of(folder)
    if len(found) == 1 and isinstance(found[0], Run):
        if metric is not None:
            raise UserError(f"there is one run, {found[0].name}: nothing to compare", where="--metric")
        return report_of_run(read_record(found[0]), parts, folder)
    records = chosen_records(runs_of(found))
    values = values_of(found)
    metric = shared_metric(found) if metric is None else metric
    compared = compare_runs(records, metric, ranked=bool(values), parts=parts, values=values)
    return report_of_several(records, compared, found, asked, commands_for(records, parts, folder))
