"""Lists of runs and sweeps (`dlrun runs`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlrun.run_folders.records import Record
    from dlrun.run_folders.sweep_folder import Sweep
from dlrun.console.layout import print_lines
from dlrun.console.numbers import duration, number, of_seeds, yaml_text
from dlrun.console.streams import clean, out


def print_runs(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the runs, newest first, as plain lines: rich takes half a second for a table of 1,000 rows."""
    print_lines(lines_of_runs(rows), under=2)


def lines_of_runs(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The headings of a list of runs, and the cells of each."""
    lines: list[tuple[str, ...]] = [("run", "status", "epochs", "time", "best", "last")]
    for row in rows:
        best = f"{_figures(row['best'])} at {row['best_epochs']}" if row["best"] else ""
        told = {column: row["last"][column] for column in row["told"]}
        seconds = duration(row["seconds"]) if row["seconds"] is not None else ""
        lines.append(
            (
                row["run"],
                row["status"],
                row["epochs"],
                seconds,
                best,
                _figures(told),
            )
        )
    return lines


def print_columns(records: Sequence[Record], names: Sequence[str], keys: Sequence[str]) -> None:
    """Print the values of some keys for each run; figures as mean ± standard deviation over seeds."""

    def text(each: Record, name: str, key: str) -> str:
        if key == "run":
            return name
        if key not in each.config and (values := each.of_seeds(key)):
            return of_seeds(list(values.values()))
        try:
            return yaml_text(each.at(key))
        except KeyError:
            return ""

    named = zip(records, names, strict=True)
    print_lines([tuple(keys), *(tuple(text(each, name, key) for key in keys) for each, name in named)])


def print_runs_csv(records: Sequence[Record], names: Sequence[str], keys: Sequence[str] | None) -> None:
    """Print a row for each run as CSV: its place, status, config and figures, or some keys alone."""
    from dlrun.run_folders.run_rows import csv_of, rows_of_runs

    out().file.write(clean(csv_of(rows_of_runs(records, names, keys))))


def print_sweeps(found: Iterable[Sweep]) -> None:
    """Print the sweeps, newest first, with the number of completed runs."""
    lines = [("sweep", "runs done")]
    for sweep in found:
        left = len(sweep.unfinished())
        lines.append((sweep.name, f"{len(sweep.trials) - left} of {len(sweep.trials)}"))
    print_lines(lines)


def _figures(figures: Mapping[str, Any]) -> str:
    """Figures in one line: `test_accuracy 0.94, test_loss 0.2`."""
    return ", ".join(f"{name} {number(figure['mean'], figure['sd'])}" for name, figure in figures.items())
