"""Differences between two runs: settings, machine, versions, data, and the epoch where their curves part."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dlrun.run_folders.comparison_notes import differing
from dlrun.run_folders.listing import names_apart
from dlrun.run_folders.records import Record
from dlrun.run_folders.surroundings import surroundings_of

_NOT_COMPARED = ("epoch", "seed", "lr", "seconds")


@dataclass(frozen=True)
class Parting:
    """The first epoch in which the figures of two runs differ in any bit; `epoch` is None if none do."""

    epoch: int | None
    seed: int = 0
    column: str = ""
    values: tuple[float | None, float | None] = (None, None)
    epochs: int = 0  # that both have
    seeds: int = 0  # that both have
    columns: int = 0  # that both have

    def __str__(self) -> str:
        """The result in words."""
        if not self.epochs:
            return "there is no epoch of a seed that both have trained"
        if not self.columns:
            return "there is nothing that both have measured"
        counts = {"epoch": self.epochs, "seed": self.seeds, "column": self.columns}
        epochs, seeds, columns = (f"{n:,} {name}{'s' * (n != 1)}" for name, n in counts.items())
        shared = f"{epochs}, {seeds} and {columns} that both have"
        if self.epoch is None:
            return f"the same to the last bit in {shared}"
        a, b = self.values
        return f"part at epoch {self.epoch}: {self.column} of seed {self.seed} is {a!r} and {b!r} ({shared})"


@dataclass(frozen=True)
class Differences:
    """The differences between two runs: key -> both values, and the epoch where their curves part."""

    first: Record
    second: Record
    settings: dict[str, tuple[Any, Any]]
    surroundings: dict[str, tuple[Any, Any]]
    parting: Parting
    unknown: list[str]  # messages about files of a run that cannot be read

    @property
    def names(self) -> list[str]:
        """The names of both runs, or their folders if they have the same name."""
        return names_apart((each.run.name, each.run.folder) for each in (self.first, self.second))

    def plain(self) -> dict[str, Any]:
        """The differences as a dict for JSON."""
        return {
            "runs": [str(record.run.folder) for record in (self.first, self.second)],
            "settings": {key: list(values) for key, values in self.settings.items()},
            "surroundings": {key: list(values) for key, values in self.surroundings.items()},
            "parting": asdict(self.parting),
            "unknown": self.unknown,
        }


def differences_between(first: Record, second: Record) -> Differences:
    """The differences between two runs."""
    both = (first, second)
    named = list(zip(both, names_apart((each.run.name, each.run.folder) for each in both), strict=True))
    unread = [
        f"the config of {name} cannot be read: {record.unread}" for record, name in named if record.unread
    ]
    silent = [f"{name} has no summary.json that can be read" for record, name in named if not record.summary]
    return Differences(
        first,
        second,
        {} if unread else settings(first, second),
        {} if silent else surroundings(first, second),
        parting(first, second),
        unread + silent,
    )


def settings(first: Record, second: Record) -> dict[str, tuple[Any, Any]]:
    """The keys of the config that differ, each with both values; None for a run without the key."""
    a, b = differing([first.config, second.config])
    keys = {key: (a.get(key), b.get(key)) for key in [*a, *b] if key.partition(".")[0] != "not_judged"}
    order = [*dict.fromkeys(key.partition(".")[0] for key in [*first.config, *second.config])]
    return dict(sorted(keys.items(), key=lambda each: order.index(each[0].partition(".")[0])))


def surroundings(first: Record, second: Record) -> dict[str, tuple[Any, Any]]:
    """The differences in data, machine and versions, each with both values as `surroundings_of` has them."""
    a, b = surroundings_of(first), surroundings_of(second)
    return {name: (a[name], b[name]) for name in a if a[name] != b[name]}


def parting(first: Record, second: Record) -> Parting:
    """Find the first difference between two metrics.csv, in the seeds, epochs and columns of both."""
    tables = [table(record.run.rows()) for record in (first, second)]
    shared = [place for place in tables[0] if place in tables[1]]
    columns: dict[str, None] = {}
    found: tuple[int, int, str, tuple[float | None, float | None]] | None = None
    for place in shared:
        a, b = tables[0][place], tables[1][place]
        for column in (name for name in a if name in b):
            columns[column] = None
            # repr: nan equals nan. A figure that one run did not measure is no difference.
            measured = a[column] is not None and b[column] is not None
            if found is None and measured and repr(a[column]) != repr(b[column]):
                found = (*place, column, (a[column], b[column]))
    epochs, seeds = {epoch for epoch, _ in shared}, {seed for _, seed in shared}
    where = found or (None, 0, "", (None, None))
    return Parting(where[0], where[1], where[2], where[3], len(epochs), len(seeds), len(columns))


def table(columns: dict[str, list[Any]]) -> dict[tuple[int, int], dict[str, float | None]]:
    """metrics.csv as (epoch, seed) -> column -> figure."""
    names = [name for name in columns if name not in _NOT_COMPARED]
    places = zip(columns.get("epoch", ()), columns.get("seed", ()), strict=False)
    return {
        place: {name: columns[name][row] for name in names if row < len(columns[name])}
        for row, place in enumerate(places)
    }
