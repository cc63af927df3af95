"""The results of `dlrun calibrate`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from dlrun.console.layout import class_name, plain_table, short_names
from dlrun.console.numbers import of_seeds, said_temperatures, said_thresholds, short_text
from dlrun.console.streams import err, out, print_line, print_warning
from dlrun.results.calibration import DROPPED
from dlrun.training.calibration import THRESHOLD, metric_of
from dlrun.training.figures import share

_MOST_LABELS = 20


def print_calibration(report: Mapping[str, Any], file: Path) -> None:
    """Print the temperatures, and each figure before and after."""
    console = out()
    each = f"temperature {of_seeds(report['temperatures'])}"
    examples = f"fitted on {report['examples']['valid']:,} validation examples"
    print_line(f"{report['run'] or report['checkpoint']}, {each}, {examples}", console)
    _print_figures(report["figures"], "as trained", "calibrated", console)
    if dropped := report.get(DROPPED):
        was = f"the threshold ({said_thresholds(dropped['above'])}) was chosen {dropped['chosen']}"
        whose = report["run"] or report["checkpoint"]
        again = f"dlrun calibrate {whose} --threshold {metric_of(dropped)} chooses one at these temperatures"
        print_warning(f"{was}, and is dropped: {again}", console)
    elif THRESHOLD in report:
        kept = said_thresholds(report[THRESHOLD]["above"])
        print_line(f"the threshold stays: {kept}, at the same temperatures", console)
    for warning in report["warnings"]:
        print_warning(warning, console)
    print_line(f"eval, plot and predict use it from now on: {file}", console)


def print_thresholds(report: Mapping[str, Any], file: Path) -> None:
    """Print the thresholds, and each figure before and after."""
    console, chosen = out(), report[THRESHOLD]
    thresholds, figures = chosen["above"], chosen["figures"]
    at = f" at {said_temperatures(report['temperatures'])}" if report["temperatures"] else ""
    examples = (
        f"chosen by {said_metric(chosen['metric'])} on {chosen['examples']['valid']:,} validation examples"
    )
    about = f"{report['run'] or report['checkpoint']}, {said_thresholds(thresholds)}{at}, {examples}"
    print_line(about, console)
    if len(thresholds) > 1:
        _print_labels(thresholds, console)
    _print_figures(figures, "above 0.5", "by threshold", console)
    of = f"of {class_name(*thresholds)}" if len(thresholds) == 1 else "means over labels"
    of_test = ", the test figures are not" if "test" in figures else ""
    chose, them = ("the threshold was", "it") if len(thresholds) == 1 else ("the thresholds were", "them")
    optimistic = f"the validation figures, by which {chose} chosen, are optimistic{of_test}"
    print_line(f"precision and recall are {'those ' * (len(thresholds) == 1)}{of}; {optimistic}", console)
    for warning in chosen["warnings"]:
        print_warning(warning, console)
    print_line(f"eval, plot and predict decide by {them} from now on: {file}", console)


def print_calibrated(found: Mapping[str, Any]) -> None:
    """Print on stderr by which `temperatures` and `thresholds` the predictions are that follow, if by any."""
    if "temperatures" in found:
        print_line(f"calibrated probabilities: {said_temperatures(found['temperatures'])}", err())
    if "thresholds" in found:
        print_line(f"predicted: {said_thresholds(found['thresholds'])}", err())


def _print_labels(thresholds: Mapping[str, float], console: Console) -> None:
    table = plain_table()
    table.add_column("label")
    table.add_column("above", justify="right")
    shown = dict(islice(thresholds.items(), _MOST_LABELS))
    for name, above in zip(short_names(shown), shown.values(), strict=True):
        table.add_row(Text(name), share(above))
    console.print(table)
    if len(thresholds) > _MOST_LABELS:
        print_line(f"the first {_MOST_LABELS} of {len(thresholds):,} labels; --json has all", console)


def _print_figures(figures: Mapping[str, Any], before: str, after: str, console: Console) -> None:
    """Print a table of the figures of each split before and after."""
    table = plain_table()
    for heading in ("", before, after):
        table.add_column(heading, justify="right" if heading else "left")
    for row in figure_rows(figures):
        table.add_row(*row)
    console.print(table)


def figure_rows(figures: Mapping[str, Any]) -> list[list[str]]:
    """The name of each figure of each split, and its cells before and after."""
    return [
        [f"{split}_{figure}", of_seeds(values), of_seeds(of_split["after"].get(figure))]
        for split, of_split in figures.items()
        for figure, values in of_split["before"].items()
    ]


def said_metric(choice: str | Mapping[str, Any]) -> str:
    """A metric with its options in words: `f1 (average macro)`."""
    if isinstance(choice, str):
        return choice
    options = ", ".join(f"{key} {short_text(value)}" for key, value in choice.items() if key != "name")
    return f"{choice['name']} ({options})"
