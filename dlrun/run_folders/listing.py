"""Lists of the runs in a folder, newest first, with status and figures of each."""

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
    """The runs in a folder, newest first. Anything else in it is skipped."""
    return [run for _, run in _newest_first((_age(run, run.summary()), run) for run in _unordered(parent))]


def overviews(parent: Path) -> list[dict[str, Any]]:
    """An `overview` of each run in a folder, newest first."""
    # One summary at a time: the garbage collector traverses again and again all that are kept.
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
    """The row of a run in a list: status, epochs, best and last figures, seconds.

    Entries of the summary that have another form than dlrun writes are left out: the file is untrusted.
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
        "best_epochs": _span(best),
        "last": _sound(final, lambda column: column not in ("lr", "seconds")),
        "seconds": summary.get("seconds") if _is_number(summary.get("seconds")) else None,
    }


def _span(best: dict[str, Any]) -> str:
    """The best epoch of a run, or the first and the last of those of its seeds, such as `7–40`."""
    epochs = best.get("epochs")
    whole = [epoch for epoch in epochs.values() if _is_number(epoch)] if isinstance(epochs, dict) else []
    if not whole:
        return str(best.get("epoch"))
    low, high = min(whole), max(whole)
    return f"{high}" if low == high else f"{low}–{high}"


def _sound(figures: Any, is_wanted: Callable[[str], bool]) -> dict[str, Any]:
    """The wanted figures that have a mean, with or without a standard deviation."""
    return {
        column: {"mean": figure["mean"], "sd": figure["sd"] if _is_number(figure.get("sd")) else None}
        for column, figure in (figures.items() if isinstance(figures, dict) else ())
        if is_wanted(column) and isinstance(figure, dict) and _is_number(figure.get("mean"))
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e300  # so neither nan nor inf


def _age(run: Run, summary: dict[str, Any]) -> _Age:
    started = summary.get("started")
    if not isinstance(started, str):  # killed before it wrote a summary: as old as its config
        with suppress(OSError):  # deleted in the meantime
            return stamp(datetime.fromtimestamp(run.config.stat().st_mtime, UTC)), run.name
        started = ""
    return started, run.name
