"""Comparisons from Python: settings over their seeds, with the test of each difference."""

from __future__ import annotations

from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from dlrun.api.runs import Run, Runs
from dlrun.errors import UserError
from dlrun.results.places import InFolder, PathLike, own_parts
from dlrun.results.rows import Rows
from dlrun.run_folders import comparison
from dlrun.run_folders.finding import find_runs
from dlrun.run_folders.records import chosen_records, runs_of, shared_metric, values_of
from dlrun.run_folders.sweep_finding import all_runs_in


class Comparison:
    """Settings with their figures, each beside the first one or, if they are ranked, the best one."""

    def __init__(self, found: comparison.Comparison) -> None:
        self._found = found

    @property
    def metric(self) -> str:
        """The column that is compared, with `best.` before it if it is of each run's best epoch."""
        return self._found.metric

    @property
    def notes(self) -> list[str]:
        """Doubts about the comparison, such as other data of some runs."""
        return list(self._found.notes)

    @cached_property
    def rows(self) -> Rows:
        """A row for each setting: the keys that differ, mean, sd, n, difference, margin and verdict."""
        settings = self._found.plain()["settings"]
        keys = list(dict.fromkeys(key for each in settings for key in each["settings"]))
        return Rows(
            {key: each["settings"].get(key) for key in keys}
            | {self.metric: each["mean"]}
            | {name: each[name] for name in ("sd", "n", "difference", "margin", "verdict")}
            for each in settings
        )

    @property
    def runs(self) -> Runs:
        """The runs that are compared, setting by setting."""
        return Runs(Run(run.folder) for group in self._found.groups for run in group.runs)

    def __repr__(self) -> str:
        return f"<Comparison of {len(self._found.groups)} settings by {self.metric}>"

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{escape(text)}</p>" for text in [self._found.meaning, *self.notes] if text)
        return f"{self.rows._repr_html_()}{notes}"


def compare(
    *runs: PathLike | InFolder,
    metric: str | None = None,
    where: str | None = None,
    runs_dir: PathLike = "runs",
    parts: PathLike | None = None,
) -> Comparison:
    """Compare settings over their seeds, as `dlrun compare` does.

    `runs` are runs and sweeps, or their folders, names, or patterns such as "spiral_*"; without any all runs
    in `runs_dir` that meet the condition `where`. Raises UserError if nothing is found, or nothing can be
    compared.
    """
    parent = Path(runs_dir).expanduser()
    if not runs and where is None:
        raise UserError("there is nothing to compare", fix="name runs, or a condition: where=…")
    named: list[Any] = [
        each if isinstance(each, str) else str(getattr(each, "folder", each)) for each in runs
    ]
    meant = [found for text in named for found in find_runs(text, parent)]
    asked = runs_of(meant) if runs else all_runs_in(parent)[::-1]
    chosen = chosen_records(asked, where)
    if not chosen:
        raise UserError(f"none of {len(asked)} runs fulfils this condition", where=f"where={where}")
    values = values_of(meant)
    found = comparison.compare_runs(
        chosen,
        shared_metric(meant) if metric is None else metric,
        ranked=bool(values),
        parts=own_parts(parts),
        values=values,
    )
    return Comparison(found)
