"""Lists of runs and sweeps (`dlrun runs`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlrun.run_folders.records import Record
    from dlrun.run_folders.sweep_folder import Sweep
from dlrun.console.layout import print_lines
from dlrun.console.numbers import duration, number, of_seeds, yaml_text


def print_runs(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the runs, newest first, as plain lines: rich takes half a second for a table of 1,000 rows."""
    lines = [("run", "status", "epochs", "time", "last", "best")]
    for row in rows:
        best = f"{_figures(row['best'])} at {row['best_epochs']}" if row["best"] else ""
        seconds = duration(row["seconds"]) if row["seconds"] is not None else ""
        lines.append(
            (
                row["run"],
                row["status"],
                row["epochs"],
                seconds,
                _figures(row["last"]),
                best,
            )
        )
    print_lines(lines)


def print_columns(records: Iterable[Record], keys: Sequence[str]) -> None:
    """Print the values of some keys for each run; figures as mean ± standard deviation over seeds."""

    def text(each: Record, key: str) -> str:
        if key == "run":
            return each.name
        if key not in each.config and (values := each.of_seeds(key)):
            return of_seeds(list(values.values()))
        try:
            return yaml_text(each.at(key))
        except KeyError:
            return ""

    print_lines([tuple(keys), *(tuple(text(each, key) for key in keys) for each in records)])


def print_sweeps(found: Iterable[Sweep]) -> None:
    """Print the sweeps, newest first, with the number of completed runs."""
    lines = [("sweep", "done", "of")]
    for sweep in found:
        left = len(sweep.unfinished())
        lines.append((sweep.name, str(len(sweep.trials) - left), f"{len(sweep.trials)} runs"))
    print_lines(lines)


def _figures(figures: Mapping[str, Any]) -> str:
    """The last two metrics, or if there are none the losses: `test_accuracy 0.94`."""
    names = [name for name in figures if not name.endswith("_loss")] or list(figures)
    shown = [(name, figures[name]) for name in names[-2:] if figures[name]]
    return ", ".join(f"{name} {number(figure['mean'], figure['sd'])}" for name, figure in shown)
