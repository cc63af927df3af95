"""Records of runs: config and results under one set of keys, to select, filter, sort and group runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import Any

from dlrun.config.keys import (
    AVERAGED,
    DATA_PATH,
    FOLD,
    FOLDS,
    KEYS,
    TEACHER_KEY,
    WEIGHTS,
    flat_config,
    with_defaults,
)
from dlrun.config.strict_yaml import read_file
from dlrun.errors import UserError, meant, shortened
from dlrun.run_folders.conditions import Condition, is_number, parse_condition
from dlrun.run_folders.locating import SWEEP_FILE
from dlrun.run_folders.run import Run
from dlrun.run_folders.significance import Replicate
from dlrun.run_folders.sweep_folder import Sweep
from dlrun.system.files import is_file

_DIGITS = 12  # hexadecimal digits of a digest that are shown
LARGEST = 1e150  # larger figures are left out: their squares overflow a double


@dataclass(frozen=True)
class Record:
    """The content of a run's folder: its config, flat, with keys such as `optimizer.lr`, and its summary."""

    run: Run
    config: dict[str, Any]
    summary: dict[str, Any]
    unread: str = ""  # why the config cannot be read

    def at(self, key: str) -> Any:
        """The value of a key: of the config, of a column, or of `run`, `status`, `started`, `seconds`.

        A column such as `train_accuracy` is the mean over seeds in the last row, `best.COLUMN` that of
        the best epoch. Raises KeyError if the run has no such key.
        """
        if key == "run":
            return self.run.name
        if key == "status":
            return self.run.status(self.summary)
        if key == "started" and isinstance(self.summary.get(key), str):
            return self.summary[key]
        if key in self.config:
            return self.config[key]
        values = self.of_seeds(key)
        if not values:
            raise KeyError(key)
        return fmean(values.values())

    @property
    def name(self) -> str:
        """The name of the run as `dlrun eval` takes it: SWEEP/RUN for a run of a sweep."""
        home = self.run.folder.parent
        is_inside = home.name and is_file(home / SWEEP_FILE)
        return f"{home.name}/{self.run.name}" if is_inside else self.run.name

    @property
    def is_stacked(self) -> bool:
        """True if its seeds were trained as one model."""
        return self.config.get("stacked") is True and len(self.seeds) > 1

    @property
    def fold(self) -> int | None:
        """The fold of cross-validation that it held out; None without folds."""
        fold, folds = self.config.get(FOLD), self.config.get(FOLDS)
        return fold if type(fold) is int and type(folds) is int else None

    def replicate(self, seed: int) -> Replicate:
        """One of its seeds, with the fold if it held one out."""
        return seed if self.fold is None else (self.fold, seed)

    @property
    def seeds(self) -> set[int]:
        """The random seeds in its config."""
        seeds = self.config.get("seeds")
        return {seed for seed in seeds if type(seed) is int} if isinstance(seeds, list) else set()

    def known_keys(self) -> list[str]:
        """Every key that `at` has a value for."""
        return ["run", "status", "started", *self.config, *self.columns()]

    def of_seeds(self, column: str) -> dict[int, float]:
        """A column's figures, seed -> value: of the last row, or for best.COLUMN of the best epoch.

        The `seconds` are those of the whole run, under its first seed.
        """
        figures: Mapping[str, Sequence[float | None]] = self._figures()
        of_seeds = zip(self.summary["seeds"], figures[column], strict=False) if column in figures else ()
        return {seed: value for seed, value in of_seeds if value is not None and abs(value) < LARGEST}

    def of_taken_weights(self, column: str) -> dict[int, float]:
        """The same as `of_seeds`, of averaged weights if the run takes those and has their figures."""
        return (self.of_seeds(f"{column}{AVERAGED}") if self.takes_averaged else {}) or self.of_seeds(column)

    @property
    def takes_averaged(self) -> bool:
        """True if averaged weights are those that the run evaluates and predicts with."""
        return bool(at(self.summary, "average", "taken") == "averaged")

    def columns(self) -> list[str]:
        """The columns that were measured, each also as best.COLUMN, and `seconds`."""
        return list(self._figures())

    def _figures(self) -> dict[str, list[float | None]]:
        """Column -> the figure of each seed, None if it is not finite.

        Entries of the summary that have another form than dlrun writes are left out.
        """
        best = self.summary.get("best")
        places = {
            "": self.summary.get("final"),
            "best.": best.get("figures") if isinstance(best, dict) else None,
        }
        found = {
            f"{place}{column}": figure["values"]
            for place, figures in places.items()
            if isinstance(figures, dict)
            for column, figure in figures.items()
            if column not in ("lr", "seconds")
            and isinstance(figure, dict)
            and isinstance(figure.get("values"), list)
            and all(value is None or is_number(value) for value in figure["values"])
        }
        if is_number(self.summary.get("seconds")):
            found["seconds"] = [self.summary["seconds"]]
        seeds = self.summary.get("seeds")
        return found if isinstance(seeds, list) and all(map(is_number, seeds)) else {}

    def setting(self, metric: str) -> dict[str, Any]:
        """The keys of the config that a figure depends on, and the fingerprint of the data.

        Folds are of one setting, as seeds are, though each has a fingerprint of its own. The threads and
        `stacked`, which a sweep may choose by itself, count only for the metric `seconds`.
        """
        counting = {"results", "bits"} if metric == "seconds" else {"results"}
        free = {"seeds", *(name for name, key in KEYS.items() if key.changes not in counting)}
        known = {
            key: value
            for key, value in self.config.items()
            if key.split(".")[0] not in free and key != DATA_PATH
        }
        for entry, key in (("weights", WEIGHTS), ("teacher", TEACHER_KEY)):
            digest, path = at(self.summary, entry, "sha256"), known.get(key)
            if isinstance(digest, str) and isinstance(path, str):  # the content counts, not where it lies
                known[key] = f"{Path(path).name} ({digest[:_DIGITS]})"
        if self.fold is not None:
            return {key: value for key, value in known.items() if key != FOLD}
        return known | {"data": at(self.summary, "data", "fingerprint")}


def read_record(run: Run) -> Record:
    """Read the record of a run; if its config cannot be read, `unread` is the reason."""
    plain, unread = None, "it holds no keys"
    try:
        plain = read_file(run.config).plain()
    except UserError as error:
        unread = error.inline
    if not isinstance(plain, dict):
        return Record(run, {}, run.summary(), unread)
    return Record(run, flat_config(with_defaults(plain)), run.summary())


def runs_of(found: Iterable[Run | Sweep]) -> list[Run]:
    """The runs, with each sweep replaced by its runs."""
    every = list[Run]()
    for each in found:
        every += [trial.run for trial in each.trials] if isinstance(each, Sweep) else [each]
    return every


def shared_metric(found: Sequence[Run | Sweep]) -> str | None:
    """The metric that all of them are ranked by; None unless they are sweeps of one metric."""
    metrics = {each.metric if isinstance(each, Sweep) else None for each in found}
    return metrics.pop() if len(metrics) == 1 else None


def values_of(found: Sequence[Run | Sweep]) -> dict[Path, dict[str, Any]]:
    """Folder of a run -> the values that the sweep set in it; empty unless exactly one sweep was found."""
    match found:
        case [Sweep() as sweep]:
            return {trial.run.folder: trial.values for trial in sweep.trials}
    return {}


def chosen_records(named: Iterable[Run], where: str | None = None) -> list[Record]:
    """The records of runs, each run once; with `where` only those that meet this condition.

    Raises UserError if the condition cannot be parsed, or names a key that no run has.
    """
    holds = parse_condition(where) if where is not None else None  # before anything is read
    records = [read_record(run) for run in {run.folder.resolve(): run for run in named}.values()]
    return records if holds is None else matching(records, holds)


def matching(records: Sequence[Record], holds: Condition) -> list[Record]:
    """The records that meet a condition. Raises UserError if it names a key that none of them has."""
    refuse_unknown(records, holds.keys, "--where")
    return [each for each in records if holds(each.at)]


def refuse_unknown(records: Sequence[Record], keys: Iterable[str], where: str) -> None:
    """Raises UserError for a key that none of the runs has: it is most likely misspelt."""
    known = dict.fromkeys(key for each in records for key in each.known_keys())
    for key in keys:
        if records and key not in known:
            raise UserError(
                f"no run has the key {shortened(key)!r}{meant(key, known)}",
                where=where,
                fix="write a key of a config, such as optimizer.lr, or a column, such as train_accuracy",
            )


def ordered(records: Sequence[Record], key: str) -> list[Record]:
    """The records sorted by a key, ascending, or descending with `-` before it.

    Numbers come before texts, and runs without the key come last. Raises UserError if no run has the key.
    """
    name, is_falling = key.removeprefix("-"), key.startswith("-")
    refuse_unknown(records, [name], "--sort")
    numbers, texts, silent = list[tuple[Any, Record]](), list[tuple[Any, Record]](), list[Record]()
    for each in records:
        try:
            value = each.at(name)
        except KeyError:
            silent.append(each)
            continue
        if is_number(value):
            numbers.append((value, each))
        else:
            texts.append((written(value), each))
    for known in (numbers, texts):
        known.sort(key=itemgetter(0), reverse=is_falling)
    return [each for _, each in numbers + texts] + silent


def at(content: Any, *path: str) -> Any:
    """The value at a path of keys in a summary; None if there is none."""
    for key in path:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def written(value: Any) -> str:
    """A value as YAML in one line."""
    return value if isinstance(value, str) else json.dumps(value)


def some(names: Sequence[str], most: int = 5) -> str:
    """The names in one line; only the first of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
