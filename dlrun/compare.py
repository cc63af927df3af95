"""Many runs become one table: a setting a row, its seeds' mean ± sd, and what is known of the differences.

Runs of one config are one setting, however their seeds were trained: one by one, or several in a run.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from io import StringIO
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from dlrun import runs, sweep_folder
from dlrun.components import KINDS, Parts
from dlrun.errors import UserError, nearest, shortened
from dlrun.runs import Run
from dlrun.significance import Difference, difference
from dlrun.strict_yaml import read_file
from dlrun.tables import cell
from dlrun.where import condition

# What may differ between two runs that are one: nothing of it changes what is learnt from a seed.
FREE = {"name", "plots", "expect", "expect_epochs"}
_DONE = ("finished", "stopped early")
FRACTIONS = ("accuracy", "top5")  # differences of these are said in percentage points


@dataclass(frozen=True)
class Said:
    """What a run's folder says: its config key by key, such as `optimizer.lr`, and its summary."""

    run: Run
    config: dict[str, Any]
    summary: dict[str, Any]

    def at(self, key: str) -> Any:
        """What stands at a key of the config, or what was measured; KeyError where it says nothing.

        A column such as `train_accuracy` is the mean over seeds in the last row, `best.COLUMN` that of
        the best epoch; `run`, `status` and `seconds` are there too.
        """
        if key == "run":
            return self.run.name
        if key == "status":
            return self.run.status(self.summary)
        if key in self.config:
            return self.config[key]
        values = self.of_seeds(key)
        if not values:
            raise KeyError(key)
        return fmean(values.values())

    def of_seeds(self, column: str) -> dict[int, float]:
        """A column's figures, seed -> value: of the last row, or for best.COLUMN of the best epoch.

        The `seconds` are those of the whole run, and stand at its first seed.
        """
        figures = self._figures()
        of_seeds = zip(self.summary.get("seeds", ()), figures.get(column, ()), strict=False)
        return {seed: value for seed, value in of_seeds if math.isfinite(value)}

    def columns(self) -> list[str]:
        """What was measured, as it can be compared."""
        return list(self._figures())

    def _figures(self) -> dict[str, list[float]]:
        """Column -> the figure of each seed; what is not as dlrun writes it is left out."""
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
            and _are_numbers(figure.get("values"))
        }
        if _are_numbers([self.summary.get("seconds")]):
            found["seconds"] = [self.summary["seconds"]]
        return found if _are_numbers(self.summary.get("seeds")) else {}

    @property
    def setting(self) -> dict[str, Any]:
        """What of the config, and which data, its figures depend on."""
        known = {
            key: value for key, value in self.config.items() if key.split(".")[0] not in {*FREE, "seeds"}
        }
        data = self.summary.get("data")
        return known | {"data": data.get("fingerprint") if isinstance(data, dict) else None}


@dataclass
class Group:
    """The finished runs of one setting, and the figure of each of their seeds."""

    setting: dict[str, Any]
    runs: list[Run] = field(default_factory=list)
    values: dict[int, float] = field(default_factory=dict)
    diverged: list[str] = field(default_factory=list)  # runs that say nothing but this
    shown: dict[str, Any] = field(default_factory=dict)  # what of the setting differs from others
    beside: Difference | None = None  # how much more than the reference; None for itself

    @property
    def mean(self) -> float:
        return fmean(self.values.values()) if self.values else math.nan

    @property
    def sd(self) -> float | None:
        """The standard deviation over seeds; None for fewer than two."""
        return stdev(self.values.values()) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Comparison:
    """Settings side by side. What each has `beside` is how it differs from the first, which is the best one
    where they are ranked.
    """

    metric: str
    higher_is_better: bool
    groups: list[Group]
    is_ranked: bool
    comparisons: int  # at once: each interval is that much wider
    notes: list[str]

    @property
    def meaning(self) -> str:
        """What the figures are, in a line."""
        words = (
            "mean ± standard deviation over n seeds; differences with their 95 % interval, by pairs of seeds"
        )
        if self.comparisons > 1:
            words += f", widened for {self.comparisons} comparisons at once"
        return words

    def verdict(self, group: Group) -> str:
        """What is known of a setting beside the reference, in words."""
        found = group.beside
        if found is None:
            return ""
        n = f"(n = {found.n})"
        if not found.is_known:
            return f"not distinguishable {n}"
        better = "better" if (found.mean > 0) is self.higher_is_better else "worse"
        scale, unit = (100, " points") if self.metric.rsplit("_", 1)[-1] in FRACTIONS else (1, "")
        apart, margin = abs(found.mean) * scale, found.margin * scale
        places = decimals(margin or apart)
        return f"{better} by {apart:.{places}f} ± {margin:.{places}f}{unit} {n}"

    def plain(self) -> dict[str, Any]:
        """As JSON and tables hold it."""
        return {
            "metric": self.metric,
            "better": "higher" if self.higher_is_better else "lower",
            "beside": "best" if self.is_ranked else "first",
            "comparisons": self.comparisons,
            "settings": [
                {
                    "settings": group.shown,
                    "mean": group.mean,
                    "sd": group.sd,
                    "n": len(group.values),
                    "values": {str(seed): value for seed, value in group.values.items()},
                    "runs": [run.name for run in group.runs],
                    "diverged": group.diverged,
                    "difference": group.beside.mean if group.beside else None,
                    "margin": group.beside.margin if group.beside else None,
                    "verdict": self.verdict(group),
                }
                for group in self.groups
            ],
            "notes": self.notes,
        }

    def csv(self) -> str:
        """As a table: what differs, mean, sd, n, the difference and its margin, in words."""
        keys = list(dict.fromkeys(key for group in self.groups for key in group.shown))
        lines = StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(
            map(cell, [*keys, self.metric, "sd", "n", "difference", "margin", "verdict", "diverged"])
        )
        for group in self.groups:
            settings = [group.shown.get(key, "") for key in keys]
            beside = [group.beside.mean, group.beside.margin] if group.beside else ["", ""]
            figures = [
                group.mean if group.values else "",
                "" if group.sd is None else group.sd,
                len(group.values),
            ]
            writer.writerow(
                map(cell, [*settings, *figures, *beside, self.verdict(group), len(group.diverged)])
            )
        return lines.getvalue()


def read(run: Run) -> Said:
    """What a run's folder says; where its config cannot be read, nothing of that."""
    try:
        plain = read_file(run.config).plain()
    except UserError:
        plain = {}
    return Said(run, flat(plain if isinstance(plain, dict) else {}), run.summary())


def flat(plain: dict[str, Any]) -> dict[str, Any]:
    """A config as YAML has it, key by key: `optimizer.lr`, and both `optimizer` and `optimizer.name`."""
    config: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, dict):
            config |= {f"{key}.{name}": option for name, option in value.items()}
            if key != "expect" and "name" in value:
                config[key] = value["name"]
        else:
            config[key] = value
            if key in KINDS and isinstance(value, str):  # a part without options
                config[f"{key}.name"] = value
    return config


def find(text: str, parent: Path) -> list[Run]:
    """The runs that `text` names: a run's folder, those of a sweep, or those in `parent` whose names begin
    so or are of that pattern.

    Raises UserError where there is none.
    """
    path = Path(text)
    for folder in (path, parent / path):
        if (folder / "sweep.json").is_file():
            return [trial.run for trial in sweep_folder.read(folder).trials]
        if (folder / "config.yaml").is_file():
            return [Run(folder)]
    there = runs.every(parent)[::-1]  # the oldest first
    is_pattern = any(sign in text for sign in "*?[")
    named = [run for run in there if fnmatchcase(run.name, text if is_pattern else f"{text}*")]
    if not named:
        names = [run.name for run in there]
        raise UserError(f"there is no run {shortened(text)}{nearest(text, names)}", where=str(parent))
    return named


def chosen(named: Iterable[Run], where: str | None = None) -> list[Said]:
    """What runs say, each once; only those of which a condition (see `where`) holds.

    Raises UserError where the condition cannot be read.
    """
    holds = condition(where) if where is not None else None
    said = (read(run) for run in {run.folder.resolve(): run for run in named}.values())
    return [each for each in said if holds is None or holds(each.at)]


def ordered(said: Iterable[Said], key: str) -> list[Said]:
    """By what stands at a key, the smallest first, or with `-` before it the largest; at the end those that
    say nothing of it. Numbers stand before texts.
    """
    name, is_falling = key.removeprefix("-"), key.startswith("-")
    known, silent = list[tuple[bool, Any, Said]](), list[Said]()
    for each in said:
        try:
            value = each.at(name)
        except KeyError:
            silent.append(each)
            continue
        is_number = isinstance(value, int | float)
        known.append((not is_number, value if is_number else str(value), each))
    known.sort(key=lambda place: place[:2], reverse=is_falling)
    return [each for *_, each in known] + silent


def compare(
    said: Sequence[Said], metric: str | None = None, *, ranked: bool = False, parts: Parts | None = None
) -> Comparison:
    """Settings side by side: each beside the first, or `ranked` each beside the best.

    `metric` is a column as in `Said.of_seeds`, by default the first metric on the examples that were
    evaluated. Raises UserError where nothing can be compared.
    """
    notes: list[str] = []
    metric = metric or _usual(said, ranked)
    groups = list(_grouped(said, metric, notes))
    measured = [group for group in groups if group.values]
    if not measured:
        columns = list(dict.fromkeys(column for each in said for column in each.columns()))
        raise UserError(f"no finished run has measured {metric}{nearest(metric, columns)}")
    higher = _is_higher_better(metric, parts or Parts())
    if ranked:
        groups = sorted(measured, key=lambda group: group.mean, reverse=higher)
        groups += [group for group in measured if not group.values]
    # The best of many is chosen by its figures, so any two of them might have been the ones compared.
    others = len(measured) - 1
    comparisons = max(1, others * len(measured) // 2 if ranked else others)
    first = next(group for group in groups if group.values)
    for group in groups:
        if group is not first and group.values:
            group.beside = difference(first.values, group.values, comparisons)
    for group, shown in zip(groups, differing([group.setting for group in groups]), strict=True):
        group.shown = shown
    return Comparison(metric, higher, groups, ranked, comparisons, notes)


def _grouped(said: Iterable[Said], metric: str, notes: list[str]) -> Iterable[Group]:
    """Runs by their setting, in the order in which each is first met."""
    groups: dict[str, Group] = {}
    unfinished, twice = [], []
    for each in said:
        status = each.run.status(each.summary)
        group = groups.setdefault(repr(sorted(each.setting.items())), Group(each.setting))
        if status == "diverged":
            group.diverged.append(each.run.name)
        elif status not in _DONE:
            unfinished.append(f"{each.run.name} ({status})")
        else:
            values = each.of_seeds(metric)
            twice += [f"seed {seed} of {each.run.name}" for seed in values.keys() & group.values.keys()]
            group.values = values | group.values
            group.runs.append(each.run)
    if unfinished:
        notes.append(f"left out, as they are not finished: {some(unfinished)}")
    if twice:
        notes.append(f"left out, as the same was trained before: {some(twice)}")
    return [group for group in groups.values() if group.runs or group.diverged]


def differing(settings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each setting only what is not the same in all; a key that another does not have is left out."""
    keys = dict.fromkeys(key for setting in settings for key in setting)
    apart = [key for key in keys if len({repr(s.get(key)) if key in s else "" for s in settings}) > 1]
    # architecture and architecture.name are one
    apart = [key for key in apart if not (key.endswith(".name") and key.removesuffix(".name") in apart)]
    return [{key: setting[key] for key in apart if key in setting} for setting in settings]


def some(names: Sequence[str], most: int = 5) -> str:
    """The names in one line, of many the first ones."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )


def decimals(spread: float) -> int:
    """How many decimals show two digits of a spread."""
    return min(8, max(0, 1 - math.floor(math.log10(spread)))) if 0 < spread < math.inf else 4


def _usual(said: Sequence[Said], ranked: bool) -> str:
    """The first metric on the examples that were evaluated, without metrics the loss.

    Who is best is never silently chosen by the test set.
    """
    columns = [column for each in said for column in each.columns() if "." not in column]
    for split in ("valid_", "train_") if ranked else ("valid_", "test_", "train_"):
        names = [column for column in columns if column.startswith(split)]
        if names:
            return next((name for name in names if not name.endswith("_loss")), names[0])
    return "train_loss"


def _is_higher_better(metric: str, parts: Parts) -> bool:
    figure = metric.removeprefix("best.").partition("_")[2]
    if metric == "seconds" or figure == "loss" or figure not in parts.names("metrics"):
        return False
    return bool(parts.part("metrics", figure).constants.get("better", "higher") == "higher")
