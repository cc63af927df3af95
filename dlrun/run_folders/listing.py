"""Lists of the runs in a folder, newest first, with status and figures of each."""

from __future__ import annotations

import os
from collections import Counter
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
_USUAL = ("valid_loss", "train_loss")  # monitors that a config need not name
_FEWEST_TOLD, _MOST_TOLD = 2, 3  # columns of a run in a list


def runs_in(*parents: Path) -> list[Run]:
    """The runs in some folders, newest first. Anything else in them is skipped."""
    return [run for _, run in _newest_first((_age(run, run.summary()), run) for run in _unordered(*parents))]


def names_in(parent: Path, begun: str = "", is_one: Callable[[Path], bool] = is_run_folder) -> list[str]:
    """The names of the runs, or of other folders, in a folder that begin so, sorted; no file is read."""
    with suppress(OSError):
        folders = [each for each in os.scandir(parent) if each.name.startswith(begun)]
        names = [each.name for each in folders if each.is_dir(follow_symlinks=False)]
        return sorted(name for name in names if is_one(parent / name))
    return []


def overviews(*parents: Path) -> list[dict[str, Any]]:
    """An `overview` of each run in some folders, newest first."""
    # One summary at a time: the garbage collector traverses again and again all that are kept.
    of_each = ((run, run.summary()) for run in _unordered(*parents))
    found = ((_age(run, summary), (run, overview(run, summary))) for run, summary in of_each)
    rows = [row for _, row in _newest_first(found)]
    names = names_apart((run.name, run.folder) for run, _ in rows)
    return [shown | {"run": name} for (_, shown), name in zip(rows, names, strict=True)]


def names_apart(named: Iterable[tuple[str, Path]]) -> list[str]:
    """The name of each run, or its folder if another run has the same name; of pairs of name and folder."""
    every = list(named)
    counts = Counter(name for name, _ in {folder: (name, folder) for name, folder in every}.values())
    return [str(folder) if counts[name] > 1 else name for name, folder in every]


def _newest_first(aged: Iterable[tuple[_Age, _T]]) -> list[tuple[_Age, _T]]:
    return sorted(aged, key=itemgetter(0), reverse=True)


def _unordered(*parents: Path) -> list[Run]:
    """The runs in some folders."""
    folders = list[Path]()
    for parent in parents:
        with suppress(OSError):
            folders += [Path(each.path) for each in os.scandir(parent) if each.is_dir(follow_symlinks=False)]
    return [Run(folder) for folder in folders if is_run_folder(folder)]


def overview(run: Run, summary: dict[str, Any], compared: str = "") -> dict[str, Any]:
    """The row of a run in a list: status, epochs, best and last figures, seconds.

    A column that is `compared` comes first among the last figures, or as best.COLUMN among the best ones.
    Entries of the summary that have another form than dlrun writes are left out: the file is untrusted.
    """
    status = run.status(summary)
    epochs, final = summary.get("epochs", 0), summary.get("final")
    has_ended = summary.get("status") not in (None, "running")
    if not has_ended:
        epochs, final = run.last_row()
    best = summary["best"] if isinstance(summary.get("best"), dict) else {}
    monitor = best.get("monitor")
    last = _sound(final, lambda column: column not in ("lr", "seconds"))
    shown = dict.fromkeys([compared.removeprefix("best.")] * compared.startswith("best.") + [str(monitor)])
    found = _sound(best.get("figures"), lambda column: column in shown)
    return {
        "run": run.name,
        "status": status,
        "epochs": f"{epochs}/{summary.get('planned_epochs', '?')}"[:20],
        "best": {column: found[column] for column in shown if column in found},
        "best_epoch": best.get("epoch"),
        "best_epochs": _span(best),
        "last": last,
        "told": _told(last, compared, monitor, summary.get("expect")),
        "seconds": summary.get("seconds") if has_ended and _is_number(summary.get("seconds")) else None,
    }


def _told(columns: Iterable[str], compared: str, monitor: Any, claims: Any) -> list[str]:
    """The columns that a list of runs shows: the compared one, those that the config names, the last metrics.

    The config names its monitor, unless that is the usual one, and the columns of its claims.
    """
    columns = list(columns)
    claimed = (
        [each.get("column") for each in claims if isinstance(each, dict)] if isinstance(claims, list) else []
    )
    named = [compared]
    named += [monitor] if isinstance(monitor, str) and monitor not in _USUAL else []
    named += [column.removeprefix("best.") for column in claimed if isinstance(column, str)]
    others = [column for column in columns if not column.startswith("trainset_")]
    metrics = [column for column in others if not column.endswith("_loss")] or others
    told = [column for column in dict.fromkeys(named) if column in columns][:_MOST_TOLD]
    fill = [column for column in metrics[-_FEWEST_TOLD:] if column not in told]
    return [*told, *fill[len(fill) - max(0, _FEWEST_TOLD - len(told)) :]]


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
