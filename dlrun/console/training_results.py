"""The summary that is printed at the end of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from dlrun.config.keys import AVERAGED
from dlrun.console.layout import plain_table, print_figures
from dlrun.console.numbers import duration, number, said_batches, said_trainset
from dlrun.console.streams import err, out, print_line, print_unbroken
from dlrun.run_folders.run import DONE
from dlrun.training.best import said_best


def print_results(
    summary: Mapping[str, Any], folder: str, resume_command: str, eval_command: str = ""
) -> None:
    """Print the end of a run: final and best figures, claims, pictures, and the next command."""
    console = out()
    figures = [column for column in summary["final"] if column not in ("lr", "seconds")]
    print_figures(
        figures,
        measured_cells(summary, figures),
        {
            name: [number(of_columns.get(column.removesuffix(AVERAGED))) for column in figures]
            for name, of_columns in baselines_by_name(summary).items()
        },
        console,
    )
    if said := said_trainset(summary["final"]):
        print_line(said, console)
    if len(summary["seeds"]) > 1:
        print_line(f"mean ± standard deviation over {len(summary['seeds'])} seeds", console)
    if summary.get("average"):
        print_line(said_average(summary["average"], len(summary["seeds"])), console)
    if "loss_of_batches" in summary:
        print_line(said_batches(summary["loss_of_batches"]), console)
    print_verdicts(console, summary)
    if said := said_stops(summary):
        print_line(said, console)
    print_unbroken(f"{said_end(summary)}: {folder}", console)
    if said := said_within(summary):
        print_line(said, console)
    if drawn := summary.get("pictures"):
        names = [name.removeprefix("plots/") for name in drawn]
        print_line(f"pictures: {', '.join(names)} in {folder}/plots", console)
    if summary["status"] in ("interrupted", "paused"):
        print_unbroken(f"resume: {resume_command}", console)
    elif eval_command:
        print_unbroken(f"evaluate: {eval_command}", console)


def said_end(summary: Mapping[str, Any]) -> str:
    """The end of a run in a line: its status, last epoch, reason and duration."""
    reason = f", because {summary['reason']}," if summary.get("reason") else ""
    return (
        f"{_said_status(summary)} after epoch {summary['epochs']}{reason} in {duration(summary['seconds'])}"
    )


def said_stops(summary: Mapping[str, Any]) -> str:
    """A line on the epochs after which seeds stopped early; "" for one seed, or if none did."""
    stopped = summary.get("stopped") if len(summary["seeds"]) > 1 else None
    said = ", ".join(f"seed {seed} after epoch {epoch}" for seed, epoch in (stopped or {}).items())
    return f"stopped early: {said}" if said else ""


def _said_status(summary: Mapping[str, Any]) -> str:
    """The end of a run in words: `stopped` by its --max-time, or by a signal."""
    if summary["status"] == "interrupted":
        return "stopped" if summary.get("reason") else "stopped by a signal"
    return str(summary["status"])


def said_within(summary: Mapping[str, Any]) -> str:
    """A line on the epoch that a signal stopped, and the steps of it that are trained again; "" if none."""
    within = summary.get("within") if summary["status"] == "interrupted" else None
    if not within:
        return ""
    begun = f"epoch {within['epoch']} was stopped after step {within['steps']:,}"
    if within["saved"] == within["steps"]:
        return f"{begun}, which is saved: resume goes on there"
    again = f"from step {within['saved'] + 1:,} on" if within["saved"] else "from its beginning"
    return f"{begun}, and resume trains it again {again}"


def said_average(found: Mapping[str, Any], seeds: int) -> str:
    """A line on the weights that are taken, averaged or as trained, with the figure of both."""
    taken = found["taken"]
    if found["are_same"]:
        same = "averaged and trained weights are the same in the best epoch, until which nothing was averaged"
        return f"{same}: {found['column']} {number(found[taken])}"
    other = "trained" if taken == "averaged" else "averaged"
    beside = f"{found['column']} {number(found[taken])}, with the {other} ones {number(found[other])}"
    several = f"; the averaged ones are better in {found['better_seeds']} of {seeds} seeds" * (seeds > 1)
    is_best = found["is_better"] is (taken == "averaged")
    remedy = "" if is_best else f"; to evaluate the {other} ones: --weights {other}"
    if taken == "trained" and not is_best:
        remedy += f", to choose by them: monitor: {found['column']}_average"
    return f"{taken} weights are taken: {beside}{several}{remedy}"


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
        reason = f", because {summary['reason']}" if summary.get("reason") else ""
        print_line(f"{_said_status(summary)} after epoch {summary['epochs']}{reason}", console)
        if said := said_within(summary):
            print_line(f"  {said}", console)
        print_unbroken(f"  resume: {resume_command}", console)
    if any(verdict["met"] is False for verdict in summary["expect"]):
        print_verdicts(console, summary)


def measured_cells(summary: Mapping[str, Any], columns: Sequence[str]) -> dict[str, list[str]]:
    """The figures of the last and of the best epoch as cells, each with its heading."""
    best = summary["best"] or {}
    found = {f"final, {_last_epochs(summary)}": summary["final"]}
    if best:
        found[f"{said_best(best['monitor'], with_column=True)}, {best_epochs(best)}"] = best["figures"]
    return {
        heading: [number(each["mean"], each["sd"]) if each else "" for each in map(figures.get, columns)]
        for heading, figures in found.items()
    }


def baselines_by_name(summary: Mapping[str, Any]) -> dict[str, dict[str, float]]:
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
        print_line("expect: not judged, because the run is not complete", console)
        return
    table = plain_table()
    for heading in ("expected", "measured", "met"):
        table.add_column(heading, justify="left" if heading != "measured" else "right")
    for claim in claims:
        expected, measured, met = verdict_cells(claim)
        style = {True: "green", False: "bold red", None: "dim"}[claim["met"]]
        table.add_row(expected, measured, Text(met, style))
    console.print(table)
    for reason in reasons_of_none(claims):
        print_line(reason, console)


def verdict_cells(claim: Mapping[str, Any]) -> tuple[str, str, str]:
    """A claim of `expect`, the measured value and the verdict, in words."""
    figure, met = claim["measured"], claim["met"]
    has_none = met is None and (figure is None or math.isnan(figure))
    missed = f", missed by {number(claim['missed_by'])}" if claim.get("missed_by") is not None else ""
    verdict = "not judged" if met is None else "yes" if met else f"no{missed}"
    return f"{claim['column']} {claim['claim']}", "–" if has_none else number(figure), verdict


def reasons_of_none(claims: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for each reason why claims were not judged."""
    reasons = {
        claim["why"]: claim.get("check_judges", True)
        for claim in claims
        if claim["met"] is None and claim.get("why")
    }
    return [f"not judged: {why}{'; --check judges it' * judges}" for why, judges in reasons.items()]
