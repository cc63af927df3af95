"""All but the settings that a run's figures may depend on: data, machine, versions."""

from __future__ import annotations

from typing import Any

from dlrun.errors import shortened
from dlrun.run_folders.records import Record, at
from dlrun.run_folders.run import STRETCH

# Entries of the summary that may explain a difference between figures.
_PLACES = {
    "data": ("data", "fingerprint"),
    "weights": ("weights", "sha256"),
    "teacher": ("teacher", "sha256"),
    "device used": ("device",),
    "threads used": ("threads",),
    "precision used": ("precision",),
    "dlrun": ("versions", "dlrun"),
    "code": ("code",),
    "torch": ("versions", "torch"),
    "python": ("versions", "python"),
    "system": ("machine", "system"),
    "processor": ("machine", "processor"),
    "instructions": ("machine", "instructions"),
    "gpu": ("machine", "gpu"),
    "commit": ("git", "commit"),
    "uncommitted changes": ("git", "dirty"),
    "epochs done": ("epochs",),
    "status": ("status",),
}


def surroundings_of(record: Record) -> dict[str, Any]:
    """All but the settings that may explain a run's figures: data, machine, versions; None if not recorded.

    For a run that was resumed elsewhere a value lists the epochs from which on it changed.
    """
    return {name: _said(record, path) for name, path in _PLACES.items()}


def _said(record: Record, path: tuple[str, ...]) -> Any:
    """The value at a path of a summary; in words, with epochs, if it changed when the run was resumed."""
    told = record.summary.get("stretches") if path[0] in STRETCH else None
    changes = list[tuple[Any, Any]]()  # first epoch, value
    for stretch in told if isinstance(told, list) else ():
        value = at(stretch, *path)
        if not changes or changes[-1][1] != value:
            changes.append((at(stretch, "from_epoch"), value))
    if len(changes) < 2:
        return at(record.summary, *path)
    (_, first), *later = changes
    return ", ".join(
        [_shown(first), *(f"from epoch {shortened(epoch)} {_shown(value)}" for epoch, value in later)]
    )


def _shown(value: Any) -> str:
    return "none" if value is None else shortened(value)
