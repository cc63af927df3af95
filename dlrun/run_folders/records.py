"""What the folders of runs say, key by key: which runs are meant, in which order, and what a setting is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import Any

from dlrun.config.keys import DATA_PATH, KEYS, flat_config
from dlrun.config.mistakes import ConfigError
from dlrun.config.strict_yaml import read_file
from dlrun.errors import UserError, meant, nearest, shortened
from dlrun.run_folders.conditions import Condition, is_number, parse_condition
from dlrun.run_folders.listing import runs_in
from dlrun.run_folders.locating import SWEEP_FILE
from dlrun.run_folders.run import Run, is_run_folder
from dlrun.run_folders.sweep_folder import Sweep, read_sweep, sweeps_in
from dlrun.system.files import is_file

LARGEST = 1e150  # figures beyond it are no figures: their squares have no place in a double


@dataclass(frozen=True)
class Record:
    """What a run's folder says: its config key by key, such as `optimizer.lr`, and its summary."""

    run: Run
    config: dict[str, Any]
    summary: dict[str, Any]
    unread: str = ""  # why the config cannot be read

    def at(self, key: str) -> Any:
        """What stands at a key of the config, or what was measured; KeyError where it says nothing.

        A column such as `train_accuracy` is the mean over seeds in the last row, `best.COLUMN` that of
        the best epoch; `run`, `status`, `started` and `seconds` are there too.
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
        """The name of its run, that of a sweep's with the sweep before it, as `dlrun eval` takes it."""
        home = self.run.folder.parent
        is_inside = home.name and is_file(home / SWEEP_FILE)
        return f"{home.name}/{self.run.name}" if is_inside else self.run.name

    @property
    def is_stacked(self) -> bool:
        """Whether its seeds were trained as one model."""
        return self.config.get("stacked") is True and len(self.seeds) > 1

    @property
    def seeds(self) -> set[int]:
        """The seeds that its config names."""
        seeds = self.config.get("seeds")
        return {seed for seed in seeds if type(seed) is int} if isinstance(seeds, list) else set()

    def known_keys(self) -> list[str]:
        """Every key of which it says something."""
        return ["run", "status", "started", *self.config, *self.columns()]

    def of_seeds(self, column: str) -> dict[int, float]:
        """A column's figures, seed -> value: of the last row, or for best.COLUMN of the best epoch.

        The `seconds` are those of the whole run, and stand at its first seed.
        """
        figures = self._figures()
        of_seeds = zip(self.summary.get("seeds", ()), figures.get(column, ()), strict=False)
        return {seed: value for seed, value in of_seeds if value is not None and abs(value) < LARGEST}

    def columns(self) -> list[str]:
        """What was measured, as it can be compared."""
        return list(self._figures())

    def _figures(self) -> dict[str, list[float | None]]:
        """Column -> the figure of each seed, None where it is not finite; what is not as dlrun writes it is
        left out.
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
        """What of the config, and which data, a figure depends on.

        How many threads, and whether the seeds are one model, a sweep may choose by itself: they are settings
        of the time alone.
        """
        counting = {"results", "bits"} if metric == "seconds" else {"results"}
        free = {"seeds", *(name for name, key in KEYS.items() if key.changes not in counting)}
        known = {
            key: value
            for key, value in self.config.items()
            if key.split(".")[0] not in free and key != DATA_PATH
        }
        return known | {"data": at(self.summary, "data", "fingerprint")}


def read_record(run: Run) -> Record:
    """What a run's folder says; where its config cannot be read, why."""
    plain, unread = None, "it holds no keys"
    try:
        plain = read_file(run.config).plain()
    except UserError as error:
        unread = str(error.mistakes[0]) if isinstance(error, ConfigError) else error.inline
    is_read = isinstance(plain, dict)
    return Record(run, flat_config(plain) if is_read else {}, run.summary(), "" if is_read else unread)  # type: ignore[arg-type]


def find_runs(text: str, parent: Path) -> list[Run | Sweep]:
    """What `text` names, the oldest first: `last`, the folder of a run or a sweep, the runs in a folder, or
    those in `parent` whose names begin so or are of that pattern, sweeps only where no run is named so.

    Raises UserError where there is none.
    """
    path = Path(text)
    if not text.strip():
        raise UserError("an empty name names no run", fix="name a run, or '*' for all of them")
    for folder in (path, parent / path):
        with suppress(OSError):  # a name too long for any folder
            if is_file(folder / SWEEP_FILE):
                return [read_sweep(folder)]
            if is_run_folder(folder):
                return [Run(folder if folder.name else folder.resolve())]
    if inside := runs_in(path)[::-1]:
        return [*inside]
    if path.parent != Path():  # a pattern of folders elsewhere
        parent, text = path.parent, path.name
    there: list[Run | Sweep] = [*runs_in(parent)[::-1]]
    sweeps: list[Run | Sweep] = [*sweeps_in(parent)[::-1]]
    if text == "last" and (there or sweeps):
        return [max([*there[-1:], *sweeps[-1:]], key=_started)]
    pattern = text if any(sign in text for sign in "*?[") else f"{text}*"
    for of_kind in (there, sweeps):
        if found := [each for each in of_kind if fnmatchcase(each.name, pattern)]:
            return found
    names = [each.name for each in (*there, *sweeps)]
    raise UserError(f"there is no run {shortened(text)}{nearest(text, names)}", where=str(parent))


def runs_of(found: Iterable[Run | Sweep]) -> list[Run]:
    """The runs that were found, and those of the sweeps."""
    every = list[Run]()
    for each in found:
        every += [trial.run for trial in each.trials] if isinstance(each, Sweep) else [each]
    return every


def shared_metric(found: Sequence[Run | Sweep]) -> str | None:
    """What all that was found is ranked by, where it is sweeps of one metric and nothing else."""
    metrics = {each.metric if isinstance(each, Sweep) else None for each in found}
    return metrics.pop() if len(metrics) == 1 else None


def values_of(found: Sequence[Run | Sweep]) -> dict[Path, dict[str, Any]]:
    """What a sweep set in each of its runs, by their folders, where one sweep and nothing else was found."""
    match found:
        case [Sweep() as sweep]:
            return {trial.run.folder: trial.values for trial in sweep.trials}
    return {}


def _started(each: Run | Sweep) -> str:
    return str((each.content if isinstance(each, Sweep) else each.summary()).get("started", ""))


def chosen_records(named: Iterable[Run], where: str | None = None) -> list[Record]:
    """What runs say, each once; only those of which a condition (see `where`) holds.

    Raises UserError where the condition cannot be read, or asks for what no run says anything of.
    """
    holds = parse_condition(where) if where is not None else None  # before anything is read
    records = [read_record(run) for run in {run.folder.resolve(): run for run in named}.values()]
    return records if holds is None else matching(records, holds)


def matching(records: Sequence[Record], holds: Condition) -> list[Record]:
    """Those of which a condition holds. Raises UserError where it asks for what none says anything of."""
    refuse_unknown(records, holds.keys, "--where")
    return [each for each in records if holds(each.at)]


def refuse_unknown(records: Sequence[Record], keys: Iterable[str], where: str) -> None:
    """Raises UserError for a key of which none of the runs says anything: most likely it is misspelt."""
    known = dict.fromkeys(key for each in records for key in each.known_keys())
    for key in keys:
        if records and key not in known:
            raise UserError(
                f"no run says anything of {shortened(key)!r}{meant(key, known)}",
                where=where,
                fix="write a key of a config, such as optimizer.lr, or a column, such as train_accuracy",
            )


def ordered(records: Sequence[Record], key: str) -> list[Record]:
    """By what stands at a key, the smallest first, or with `-` before it the largest; at the end those that
    say nothing of it. Numbers stand before texts.

    Raises UserError where none says anything of it.
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
    """What stands at a path of keys in a summary; None where there is nothing."""
    for key in path:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def written(value: Any) -> str:
    """A value as YAML has it, in one line."""
    return value if isinstance(value, str) else json.dumps(value)


def some(names: Sequence[str], most: int = 5) -> str:
    """The names in one line, of many the first ones."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
