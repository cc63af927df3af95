"""The runs in a folder, newest first, and how each stands."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dlrun.run_folders.run import Run, is_run_folder
from dlrun.system.processes import stamp


def runs_in(parent: Path) -> list[Run]:
    """The runs in a folder, newest first. What is no run is passed over."""
    return [run for run, _ in _with_summaries(parent)]


def overviews(parent: Path) -> list[dict[str, Any]]:
    """How the runs in a folder stand, newest first: an `overview` of each."""
    return [overview(run, summary) for run, summary in _with_summaries(parent)]


def _with_summaries(parent: Path) -> list[tuple[Run, dict[str, Any]]]:
    """The runs in a folder with what the summary of each says, newest first."""
    try:
        folders = [Path(entry.path) for entry in os.scandir(parent) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    runs = [Run(folder) for folder in folders if is_run_folder(folder)]
    found = [(run, run.summary()) for run in runs]
    return sorted(found, key=lambda each: _age(*each), reverse=True)


def overview(run: Run, summary: dict[str, Any]) -> dict[str, Any]:
    """How a run with this summary stands, for a list: status, epochs, best and last figures, seconds.

    What is not as dlrun writes it is left out: whose summary it is, nobody knows.
    """
    status = run.status(summary)
    final = _sound(summary.get("final"))
    epochs = summary.get("epochs", 0)
    if summary.get("status") in (None, "running"):  # its end was never written
        epochs, final = run.last_row()
    best = summary["best"] if isinstance(summary.get("best"), dict) else {}
    monitor = best.get("monitor")
    return {
        "run": run.name,
        "status": status,
        "epochs": f"{epochs}/{summary.get('planned_epochs', '?')}"[:20],
        "best": {c: figure for c, figure in _sound(best.get("figures")).items() if c == monitor},
        "best_epoch": best.get("epoch"),
        "last": {column: figure for column, figure in final.items() if column not in ("lr", "seconds")},
        "seconds": summary.get("seconds") if _is_number(summary.get("seconds")) else None,
    }


def _sound(figures: Any) -> dict[str, Any]:
    """Those of the figures that are a mean, with or without its spread."""
    return {
        column: {"mean": figure["mean"], "sd": figure["sd"] if _is_number(figure.get("sd")) else None}
        for column, figure in (figures.items() if isinstance(figures, dict) else ())
        if isinstance(figure, dict) and _is_number(figure.get("mean"))
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e300  # so neither nan nor inf


def _age(run: Run, summary: dict[str, Any]) -> tuple[str, str]:
    started = summary.get("started")
    if not isinstance(started, str):  # killed before its first word: as old as its config
        with suppress(OSError):  # deleted this moment
            return stamp(datetime.fromtimestamp(run.config.stat().st_mtime, UTC)), run.name
        started = ""
    return started, run.name
