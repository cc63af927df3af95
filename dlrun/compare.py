"""Many runs become one table: a setting a row, its seeds' mean ± sd, and what is known of the differences.

Runs of one config are one setting, however their seeds were trained: one by one, or several in a run.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from io import StringIO
from itertools import combinations
from operator import itemgetter
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from dlrun import runs, sweep_folder
from dlrun.components import KINDS, Parts
from dlrun.errors import ConfigError, UserError, meant, nearest, shortened
from dlrun.runs import Run
from dlrun.significance import Difference, difference, one_of_many
from dlrun.strict_yaml import read_file
from dlrun.tables import cell
from dlrun.where import Condition, condition

_MOST_PAIRED = 200  # settings: all pairs of more take their time
# What may differ between two runs that are one: nothing of it changes what is learnt from a seed.
FREE = {"name", "plots", "expect", "expect_epochs"}
FRACTIONS = ("accuracy", "top5")  # differences of these are said in percentage points
LARGEST = 1e150  # figures beyond it are no figures: their squares have no place in a double


@dataclass(frozen=True)
class Said:
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
            and all(value is None or _is_number(value) for value in figure["values"])
        }
        if _is_number(self.summary.get("seconds")):
            found["seconds"] = [self.summary["seconds"]]
        seeds = self.summary.get("seeds")
        return found if isinstance(seeds, list) and all(map(_is_number, seeds)) else {}

    def setting(self, metric: str) -> dict[str, Any]:
        """What of the config, and which data, a figure depends on.

        The number of threads, which a sweep chooses by itself, is a setting of the time alone.
        """
        free = FREE | {"seeds"} | (set() if metric == "seconds" else {"threads"})
        known = {key: value for key, value in self.config.items() if key.split(".")[0] not in free}
        return known | {"data": at(self.summary, "data", "fingerprint")}


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
        """What the figures are, in a line; nothing of figures that speak for themselves."""
        words = []
        if any(group.sd is not None for group in self.groups):
            words.append("mean ± standard deviation over seeds")
        margins = [g.beside for g in self.groups if g.beside and math.isfinite(g.beside.margin)]
        if margins:
            pairs = {found.is_paired for found in margins}
            how = "seed by seed" if pairs == {True} else "seed by seed where two or more are shared"
            how = "between means, for fewer than two seeds are shared" if pairs == {False} else how
            words.append(f"differences {how}, ± half their 95 % interval")
            if self.comparisons > 1:
                words[-1] += f", wider as {self.comparisons} comparisons at once ask for (Holm)"
        return "; ".join(words)

    def verdict(self, group: Group) -> str:
        """What is known of a setting beside the reference, in words."""
        found = group.beside
        if found is None:
            return "" if group.values or group.diverged else "not measured"
        n = f"(n = {found.n})"
        if not found.is_known:
            is_same = found.mean == found.margin == 0
            one = "one seed cannot tell" if found.n < 2 else "not distinguishable"
            return f"{'the same' if is_same else one} {n}"
        better = "better" if (found.mean > 0) is self.higher_is_better else "worse"
        scale, unit = (100, " points") if figure_of(self.metric) in FRACTIONS else (1, "")
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
                    "runs": [str(run.folder) for run in group.runs],
                    "diverged": group.diverged,
                    "difference": group.beside.mean if group.beside else None,
                    "margin": group.beside.margin if group.beside else None,
                    "pairs": group.beside.n if group.beside and group.beside.is_paired else None,
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
            settings = [written(group.shown[key]) if key in group.shown else "" for key in keys]
            beside: list[Any] = ["", ""]
            if group.beside:
                margin = group.beside.margin
                beside = [group.beside.mean, margin if math.isfinite(margin) else ""]
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
    """What a run's folder says; where its config cannot be read, why."""
    plain, unread = None, "it holds no keys"
    try:
        plain = read_file(run.config).plain()
    except UserError as error:
        unread = error.mistakes[0] if isinstance(error, ConfigError) else f"{error.what} ({error.where})"
    is_read = isinstance(plain, dict)
    return Said(run, flat(plain) if is_read else {}, run.summary(), "" if is_read else unread)  # type: ignore[arg-type]


def flat(plain: dict[str, Any]) -> dict[str, Any]:
    """A config as YAML has it, key by key: `optimizer.lr`, and both `optimizer` and `optimizer.name`."""
    config: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, dict):
            if key != "expect" and "name" in value:
                config[key] = value["name"]
            config |= {f"{key}.{name}": option for name, option in value.items()}
        else:
            config[key] = value
            if key in KINDS and isinstance(value, str):  # a part without options
                config[f"{key}.name"] = value
    return config


def find(text: str, parent: Path) -> list[Run]:
    """The runs that `text` names, the oldest first: `last`, a run's folder, those of a sweep or in a folder
    of runs, or those in `parent` whose names begin so or are of that pattern; where no run is named so, those
    of the sweeps that are.

    Raises UserError where there is none.
    """
    path = Path(text)
    if not text.strip():
        raise UserError("an empty name names no run", fix="name a run, or '*' for all of them")
    for folder in (path, parent / path):
        with suppress(OSError):  # a name too long for any folder
            if (folder / sweep_folder.FILE).is_file():
                return [trial.run for trial in sweep_folder.read(folder).trials]
            if (folder / "config.yaml").is_file():
                return [Run(folder if folder.name else folder.resolve())]
    if text == "last":
        return [runs.find(text, parent)]
    if inside := runs.every(path)[::-1]:
        return inside
    if path.parent != Path():  # a pattern of folders elsewhere
        parent, text = path.parent, path.name
    there = runs.every(parent)[::-1]
    pattern = text if any(sign in text for sign in "*?[") else f"{text}*"
    if named := [run for run in there if fnmatchcase(run.name, pattern)]:
        return named
    sweeps = [sweep for sweep in sweep_folder.every(parent)[::-1] if fnmatchcase(sweep.name, pattern)]
    if sweeps:
        return [trial.run for sweep in sweeps for trial in sweep.trials]
    names = [run.name for run in there] + [sweep.name for sweep in sweep_folder.every(parent)]
    raise UserError(f"there is no run {shortened(text)}{nearest(text, names)}", where=str(parent))


def chosen(named: Iterable[Run], where: str | None = None) -> list[Said]:
    """What runs say, each once; only those of which a condition (see `where`) holds.

    Raises UserError where the condition cannot be read, or asks for what no run says anything of.
    """
    holds = condition(where) if where is not None else None  # before anything is read
    said = [read(run) for run in {run.folder.resolve(): run for run in named}.values()]
    return said if holds is None else those(said, holds)


def those(said: Sequence[Said], holds: Condition) -> list[Said]:
    """Those of which a condition holds. Raises UserError where it asks for what none says anything of."""
    refuse_unknown(said, holds.keys, "--where")
    return [each for each in said if holds(each.at)]


def refuse_unknown(said: Sequence[Said], keys: Iterable[str], where: str) -> None:
    """Raises UserError for a key of which none of the runs says anything: most likely it is misspelt."""
    known = dict.fromkeys(key for each in said for key in each.known_keys())
    for key in keys:
        if said and key not in known:
            raise UserError(
                f"no run says anything of {shortened(key)!r}{meant(key, known)}",
                where=where,
                fix="write a key of a config, such as optimizer.lr, or a column, such as train_accuracy",
            )


def ordered(said: Sequence[Said], key: str) -> list[Said]:
    """By what stands at a key, the smallest first, or with `-` before it the largest; at the end those that
    say nothing of it. Numbers stand before texts.

    Raises UserError where none says anything of it.
    """
    name, is_falling = key.removeprefix("-"), key.startswith("-")
    refuse_unknown(said, [name], "--sort")
    numbers, texts, silent = list[tuple[Any, Said]](), list[tuple[Any, Said]](), list[Said]()
    for each in said:
        try:
            value = each.at(name)
        except KeyError:
            silent.append(each)
            continue
        if _is_number(value):
            numbers.append((value, each))
        else:
            texts.append((written(value), each))
    for known in (numbers, texts):
        known.sort(key=itemgetter(0), reverse=is_falling)
    return [each for _, each in numbers + texts] + silent


def compare(
    said: Sequence[Said], metric: str | None = None, *, ranked: bool = False, parts: Parts | None = None
) -> Comparison:
    """Settings side by side: each beside the first, or `ranked` each beside the best.

    `metric` is a column as in `Said.of_seeds`, by default the first metric on the examples that were
    evaluated. Raises UserError where nothing can be compared.
    """
    notes: list[str] = []
    done = [each for each in said if each.run.status(each.summary) in runs.DONE and not each.unread]
    if not done:
        standing = [f"{each.run.name} ({each.run.status(each.summary)})" for each in said]
        raise UserError(f"there is no finished run to compare: {some(standing) or 'none is named'}")
    metric = metric or _usual(done, ranked)
    groups = list(_grouped(said, metric, notes))
    measured = [group for group in groups if group.values]
    if not measured:
        columns = list(dict.fromkeys(column for each in done for column in each.columns()))
        raise UserError(f"no finished run has measured {shortened(metric)!r}{nearest(metric, columns)}")
    higher = _is_higher_better(metric, parts or Parts(), notes)
    if ranked:
        measured.sort(key=lambda group: group.mean, reverse=higher)
    groups = measured + [group for group in groups if not group.values]
    comparisons = _compare(measured, ranked=ranked)
    for group, shown in zip(groups, telling([group.setting for group in groups], notes), strict=True):
        group.shown = shown
    _note_versions(done, notes)
    return Comparison(metric, higher, groups, ranked, comparisons, notes)


def _compare(measured: Sequence[Group], *, ranked: bool) -> int:
    """Hold each of the settings against the first; how many comparisons that counts as.

    The best of many is chosen by its figures, so any two of them might have been the ones compared.
    """
    first, *others = measured
    for group in others:
        group.beside = difference(first.values, group.values)
    told = [group.beside for group in others if group.beside]
    chances = [each.chance for each in told]
    if ranked and len(measured) <= _MOST_PAIRED:
        pairs = (difference(a.values, b.values) for a, b in combinations(others, 2))
        chances += [pair.chance for pair in pairs if pair]
        counts = one_of_many(chances)
    elif ranked:
        counts = [len(measured) * len(others) // 2] * len(told)
    else:
        counts = one_of_many(chances)
    for group, count in zip((each for each in others if each.beside), counts, strict=False):
        assert group.beside is not None
        group.beside = replace(group.beside, comparisons=count)
    return len(measured) * len(others) // 2 if ranked else len(others)


def _grouped(said: Iterable[Said], metric: str, notes: list[str]) -> Iterable[Group]:
    """Runs by their setting, in the order in which each is first met."""
    groups: dict[str, Group] = {}
    unread, unfinished, twice = [], [], []
    for each in said:
        name, status = each.run.name, each.run.status(each.summary)
        if each.unread:
            unread.append(name)
            continue
        if status not in (*runs.DONE, "diverged"):
            unfinished.append(f"{name} ({status})")
            continue
        setting = each.setting(metric)
        group = groups.setdefault(repr(sorted(setting.items())), Group(setting))
        if status == "diverged":
            group.diverged.append(name)
            continue
        values = each.of_seeds(metric)
        if again := sorted(values.keys() & group.values.keys()):
            is_same = all(values[seed] == group.values[seed] for seed in again)
            numbers = f"seed{'s' if len(again) > 1 else ''} {some([str(seed) for seed in again])}"
            twice.append(f"{numbers} of {name}{'' if is_same else ', where the figure was another'}")
        group.values = dict(sorted((values | group.values).items()))
        group.runs.append(each.run)
    for names, why in (
        (unread, "their configs cannot be read"),
        (unfinished, "they are not finished"),
        (twice, "the same seed was trained before"),
    ):
        if names:
            notes.append(f"left out, as {why}: {some(names)}")
    return groups.values()


def telling(settings: Sequence[Mapping[str, Any]], notes: list[str]) -> list[dict[str, Any]]:
    """Of each setting what tells it from the others, less what only follows from that: the options that come
    with one part and not with another, and the data that comes with a dataset.
    """
    apart = differing(settings)
    keys = dict.fromkeys(key for each in apart for key in each)

    def follows(key: str) -> bool:
        having = [setting for setting in settings if key in setting]
        if key == "data":
            datasets = [repr({k: v for k, v in s.items() if k.startswith("dataset")}) for s in settings]
            both = {(d, repr(s[key])) for d, s in zip(datasets, settings, strict=True)}
            return len(set(datasets)) == len(both)
        return len(having) < len(settings) and len({repr(setting[key]) for setting in having}) == 1

    left = [key for key in keys if not follows(key)]
    if "data" in left:
        notes.append("not all were trained on the same data, though their configs name the same")
    told = [{key: each[key] for key in left if key in each} for each in apart]
    return told if len(set(map(repr, told))) == len(told) else apart


def differing(settings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each setting only what is not the same in all; a key that another does not have is left out."""
    keys = dict.fromkeys(key for setting in settings for key in setting)
    apart = [key for key in keys if len({repr(s.get(key)) if key in s else "" for s in settings}) > 1]
    # architecture and architecture.name are one
    apart = [key for key in apart if not (key.endswith(".name") and key.removesuffix(".name") in apart)]
    return [{key: setting[key] for key in apart if key in setting} for setting in settings]


def _note_versions(said: Iterable[Said], notes: list[str]) -> None:
    """What else than the settings may be why figures are apart."""
    for package in ("dlrun", "torch"):
        versions = {str(at(each.summary, "versions", package)) for each in said} - {"None"}
        if len(versions) > 1:
            notes.append(f"not all were trained by the same {package}: {some(sorted(versions))}")


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


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def figure_of(metric: str) -> str:
    """What a column is a figure of: `accuracy` of best.test_accuracy."""
    return metric.removeprefix("best.").partition("_")[2]


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


def _is_higher_better(metric: str, parts: Parts, notes: list[str]) -> bool:
    figure = figure_of(metric)
    if metric == "seconds" or figure == "loss":
        return False
    if figure not in parts.names("metrics"):
        notes.append(f"whether more of {shortened(metric)} is better is not known; less is taken to be")
        return False
    return bool(parts.part("metrics", figure).constants.get("better", "higher") == "higher")
