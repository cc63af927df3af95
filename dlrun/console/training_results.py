"""The summary that is printed at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dlrun.console.layout import plain_table
from dlrun.console.numbers import duration, number, said_batches, said_trainset
from dlrun.console.streams import clean, err, out
from dlrun.run_folders.run import DONE
from dlrun.training.best import said_best


def print_results(
    summary: Mapping[str, Any], folder: str, resume_command: str, eval_command: str = ""
) -> None:
    """Print the end of a run: final and best figures, claims, pictures, and the next command."""
    console = out()
    wide = console.options.update(max_width=1000)
    beside = _measured_table(summary, with_baselines=True)
    if beside.row_count and console.measure(beside, options=wide).maximum <= console.width:
        console.print(beside)
    elif beside.row_count:
        console.print(_measured_table(summary), _baselines_table(summary))
    if said := said_trainset(summary["final"]):
        console.print(said)
    if len(summary["seeds"]) > 1:
        console.print(f"mean ± standard deviation over {len(summary['seeds'])} seeds")
    if "loss_of_batches" in summary:
        console.print(said_batches(summary["loss_of_batches"]))
    print_verdicts(console, summary)
    words = {"interrupted": "stopped by a signal", "paused": "paused", "finished": "finished"}
    status = words.get(summary["status"], summary["status"])
    if len(summary["seeds"]) > 1 and (stopped := summary.get("stopped")):
        said = ", ".join(f"seed {seed} after epoch {epoch}" for seed, epoch in stopped.items())
        console.print(f"stopped early: {said}")
    reason = f", because {summary['reason']}," if summary.get("reason") else ""
    end = f"{status} after epoch {summary['epochs']}{reason} in {duration(summary['seconds'])}"
    console.print(Text(clean(f"{end}: {folder}")), soft_wrap=True)
    if said := _within(summary):
        console.print(Text(said), soft_wrap=True)
    if drawn := summary.get("pictures"):
        names = [name.removeprefix("plots/") for name in drawn]
        console.print(Text(clean(f"pictures: {', '.join(names)} in {folder}/plots")), soft_wrap=True)
    if summary["status"] in ("interrupted", "paused"):
        console.print(Text(clean(f"resume: {resume_command}")), soft_wrap=True)
    elif eval_command:
        console.print(Text(clean(f"evaluate: {eval_command}")), soft_wrap=True)


def _within(summary: Mapping[str, Any]) -> str:
    """A line on the epoch that a signal stopped, and the steps of it that are trained again; "" if none."""
    within = summary.get("within") if summary["status"] == "interrupted" else None
    if not within:
        return ""
    begun = f"epoch {within['epoch']} was stopped after step {within['steps']:,}"
    if within["saved"] == within["steps"]:
        return f"{begun}, which is saved: resume goes on there"
    again = f"from step {within['saved'] + 1:,} on" if within["saved"] else "from its beginning"
    return f"{begun}, and resume trains it again {again}"


def best_epochs(best: Mapping[str, Any]) -> str:
    """The best epoch of a run, or the first and the last of those of its seeds, in words."""
    return _span(list((best.get("epochs") or {"": best["epoch"]}).values()))


def _last_epochs(summary: Mapping[str, Any]) -> str:
    """The last epoch of a run, or the first and the last of those after which its seeds stopped, in words."""
    stopped = summary.get("stopped") or {}
    return _span([stopped.get(str(seed), summary["epochs"]) for seed in summary["seeds"]])


def _span(epochs: list[int]) -> str:
    low, high = min(epochs), max(epochs)
    return f"epoch {high}" if low == high else f"epochs {low} to {high}"


def print_what_went_wrong(summary: Mapping[str, Any], resume_command: str) -> None:
    """Print on stderr why the exit code of a --quiet run is not 0."""
    console = err()
    if summary["status"] == "interrupted":
        console.print(f"stopped by a signal after epoch {summary['epochs']}")
        if said := _within(summary):
            console.print(Text(f"  {said}"), soft_wrap=True)
        console.print(Text(clean(f"  resume: {resume_command}")), soft_wrap=True)
    if any(verdict["met"] is False for verdict in summary["expect"]):
        print_verdicts(console, summary)


def _measured_table(summary: Mapping[str, Any], *, with_baselines: bool = False) -> Table:
    """A table of each column's final and best figures, on request beside those of the baselines."""
    final, best = summary["final"], summary["best"] or {}
    baselines = _baselines(summary) if with_baselines else {}
    table = plain_table()
    table.add_column("")
    table.add_column(f"final, {_last_epochs(summary)}", justify="right")
    if best:
        table.add_column(
            f"{said_best(best['monitor'], with_column=True)}, {best_epochs(best)}", justify="right"
        )
    for name in baselines:
        table.add_column(Text(clean(name)), justify="right")
    for column in final:
        if column in ("lr", "seconds"):
            continue
        figures = [final[column], *([best["figures"].get(column)] if best else [])]
        cells = [number(figure["mean"], figure["sd"]) if figure else "" for figure in figures]
        table.add_row(column, *cells, *(number(of_columns.get(column)) for of_columns in baselines.values()))
    return table


def _baselines_table(summary: Mapping[str, Any]) -> Table:
    """A table of the baselines alone."""
    baselines = _baselines(summary)
    table = plain_table()
    table.add_column("without a model")
    for name in baselines:
        table.add_column(Text(clean(name)), justify="right")
    for column in summary["final"]:
        if any(column in of_columns for of_columns in baselines.values()):
            table.add_row(column, *(number(of_columns.get(column)) for of_columns in baselines.values()))
    return table


def _baselines(summary: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The baselines of a run: baseline -> column -> value."""
    found: dict[str, dict[str, float]] = {}
    for split, of_split in summary.get("baselines", {}).items():
        for name, figures in of_split.items():
            for figure, value in figures.items():
                found.setdefault(name, {})[f"{split}_{figure}"] = value
                if split == "train":
                    found[name][f"trainset_{figure}"] = value
    return found


def print_verdicts(console: Console, summary: Mapping[str, Any]) -> None:
    """Print each claim of `expect` with the measured value and the verdict, or the reason for none."""
    claims = summary["expect"]
    if not claims:
        return
    if summary["status"] not in DONE and all(claim["met"] is None for claim in claims):
        console.print("expect: not judged, because the run is not complete")
        return
    table = plain_table()
    for heading in ("expected", "measured", "met"):
        table.add_column(heading, justify="left" if heading != "measured" else "right")
    reasons = dict.fromkeys(claim.get("why") for claim in claims if claim["met"] is None)
    for claim in claims:
        missed = f", missed by {number(claim['missed_by'])}" if claim.get("missed_by") is not None else ""
        met = Text("yes", "green") if claim["met"] else Text(f"no{missed}", "bold red")
        if claim["met"] is None:
            met = Text("not judged", "dim")
        table.add_row(f"{claim['column']} {claim['claim']}", number(claim["measured"]), met)
    console.print(table)
    for why in filter(None, reasons):
        console.print(Text(clean(f"not judged: {why}; --check judges it")), soft_wrap=True)
