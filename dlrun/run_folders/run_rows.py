"""Runs as data for other programs: each whole for JSON, or as rows with the same columns for CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from statistics import fmean, stdev
from typing import Any

from dlrun.data.table_files.csv_files import cell
from dlrun.run_folders.records import Record, at, written

_FIRST = ("run", "folder", "status", "started", "seconds", "epochs", "planned_epochs")
SD = ".sd"


def whole_run(record: Record, name: str) -> dict[str, Any]:
    """A run for JSON: its place, status and times, its flat config, its figures with those of each seed."""
    best = at(record.summary, "best")
    return {
        **_head(record, name),
        "seeds": sorted(record.seeds),
        "monitor": at(best, "monitor"),
        "best_epoch": at(best, "epoch"),
        "config": record.config,
        "figures": {
            column: {
                "mean": fmean(values.values()),
                "sd": stdev(values.values()) if len(values) > 1 else None,
                "values": {str(seed): value for seed, value in values.items()},
            }
            for column in record.columns()
            if column != "seconds" and (values := record.of_seeds(column))
        },
    }


def rows_of_runs(
    records: Sequence[Record], names: Sequence[str], keys: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """A row for each run, all with the same columns: the place, status and times, the config, the figures.

    With `keys` these alone. A figure is the mean over the seeds; if a run has several, COLUMN.sd is their
    standard deviation. None stands for a value that a run does not have.
    """
    if keys is None:
        config = dict.fromkeys(key for each in records for key in each.config)
        figures = dict.fromkeys(column for each in records for column in each.columns())
        keys = list(dict.fromkeys([*_FIRST, *config, *figures]))
    of_several = {
        key
        for key in keys
        if key not in _FIRST
        and any(key not in each.config and len(each.of_seeds(key)) > 1 for each in records)
    }
    columns = [column for key in keys for column in ([key, f"{key}{SD}"] if key in of_several else [key])]
    rows = []
    for record, name in zip(records, names, strict=True):
        known = _head(record, name) | record.config
        for key in keys:
            if key not in known and (values := record.of_seeds(key)):
                known[key] = fmean(values.values())
                known[f"{key}{SD}"] = stdev(values.values()) if len(values) > 1 else None
        rows.append({column: known.get(column) for column in columns})
    return rows


def csv_of(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV, with lists as YAML in one cell, and an empty cell for None."""
    lines = StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(map(cell, rows[0] if rows else _FIRST))
    for row in rows:
        writer.writerow("" if value is None else cell(_plain(value)) for value in row.values())
    return lines.getvalue()


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str) and not isinstance(value, bool) else written(value)


def _head(record: Record, name: str) -> dict[str, Any]:
    """The place, status and times of a run."""
    summary = record.summary
    started, seconds = summary.get("started"), record.of_seeds("seconds")
    epochs, planned = (summary.get(key) for key in ("epochs", "planned_epochs"))
    if summary.get("status") in (None, "running"):
        epochs, _ = record.run.last_row()
    return {
        "run": name,
        "folder": str(record.run.folder),
        "status": record.at("status"),
        "started": started if isinstance(started, str) else None,
        "seconds": next(iter(seconds.values()), None),
        "epochs": epochs if isinstance(epochs, int) else None,
        "planned_epochs": planned if isinstance(planned, int) else None,
    }
