"""The runs in a folder, newest first, and how each stands."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

from dlrun.run_folders.run import Run, is_run_folder
from dlrun.system.processes import stamp

_Age = tuple[str, str]  # when it was started, and its name
_T = TypeVar("_T")


def runs_in(parent: Path) -> list[Run]:
    """The runs in a folder, newest first. What is no run is passed over."""
    return [run for _, run in _newest_first((_age(run, run.summary()), run) for run in _unordered(parent))]


def overviews(parent: Path) -> list[dict[str, Any]]:
    """How the runs in a folder stand, newest first: an `overview` of each."""
    # One summary at a time: the garbage collector looks again and again through all that are kept.
    of_each = ((run, run.summary()) for run in _unordered(parent))
    found = ((_age(run, summary), overview(run, summary)) for run, summary in of_each)
    return [shown for _, shown in _newest_first(found)]


def _newest_first(aged: Iterable[tuple[_Age, _T]]) -> list[tuple[_Age, _T]]:
    return sorted(aged, key=itemgetter(0), reverse=True)


def _unordered(parent: Path) -> list[Run]:
    """The runs in a folder."""
    try:
        folders = [Path(entry.path) for entry in os.scandir(parent) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [Run(folder) for folder in folders if is_run_folder(folder)]


def overview(run: Run, summary: dict[str, Any]) -> dict[str, Any]:
    """How a run with this summary stands, for a list: status, epochs, best and last figures, seconds.

    What is not as dlrun writes it is left out: whose summary it is, nobody knows.
    """
    status = run.status(summary)
    epochs, final = summary.get("epochs", 0), summary.get("final")
    if summary.get("status") in (None, "running"):  # its end was never written
        epochs, final = run.last_row()
    best = summary["best"] if isinstance(summary.get("best"), dict) else {}
    monitor = best.get("monitor")
    return {
        "run": run.name,
        "status": status,
        "epochs": f"{epochs}/{summary.get('planned_epochs', '?')}"[:20],
        "best": _sound(best.get("figures"), lambda column: column == monitor),
        "best_epoch": best.get("epoch"),
        "last": _sound(final, lambda column: column not in ("lr", "seconds")),
        "seconds": summary.get("seconds") if _is_number(summary.get("seconds")) else None,
    }


def _sound(figures: Any, is_wanted: Callable[[str], bool]) -> dict[str, Any]:
    """Those of the figures that are wanted and are a mean, with or without its spread."""
    return {
        column: {"mean": figure["mean"], "sd": figure["sd"] if _is_number(figure.get("sd")) else None}
        for column, figure in (figures.items() if isinstance(figures, dict) else ())
        if is_wanted(column) and isinstance(figure, dict) and _is_number(figure.get("mean"))
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e300  # so neither nan nor inf


def _age(run: Run, summary: dict[str, Any]) -> _Age:
    started = summary.get("started")
    if not isinstance(started, str):  # killed before its first word: as old as its config
        with suppress(OSError):  # deleted this moment
            return stamp(datetime.fromtimestamp(run.config.stat().st_mtime, UTC)), run.name
        started = ""
    return started, run.name
