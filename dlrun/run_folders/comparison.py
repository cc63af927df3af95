"""Comparison of runs as a table: one row per setting, mean ± sd over its seeds, and tests of the differences.

Runs of one config are one setting, whether its seeds were trained one by one or several in a run.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from dlrun.config.keys import AVERAGED, FOLD
from dlrun.config.registry import Parts
from dlrun.data.table_files.csv_files import cell
from dlrun.errors import UserError, nearest, shortened
from dlrun.run_folders.comparison_notes import (
    figure_of,
    note_other_examples,
    note_other_losses,
    note_versions,
    said_of_training,
    telling,
)
from dlrun.run_folders.listing import names_apart
from dlrun.run_folders.records import Record, at, some, written
from dlrun.run_folders.run import DONE, ENDED
from dlrun.run_folders.setting_results import SettingResult, in_order, said_replicate
from dlrun.run_folders.significance import Difference, decimals, difference, one_of_many, step_of

_MOST_PAIRED = 200  # settings: testing all pairs of more would take too long
FRACTIONS = ("accuracy", "top5", "top_k")  # differences of these are said in percentage points


@dataclass(frozen=True)
class Comparison:
    """Settings, each with its difference from the first, which is the best one if they are ranked."""

    metric: str
    higher_is_better: bool
    groups: list[SettingResult]
    is_ranked: bool
    comparisons: int  # the number of tests that the intervals are corrected for
    notes: list[str]
    monitor: str = ""  # the column that chose each run's best epoch, if it is the same for all

    @property
    def column(self) -> str:
        """The column that is compared, without `best.`."""
        return self.metric.removeprefix("best.")

    @property
    def is_of_best_epoch(self) -> bool:
        """True if the figures are of each run's best epoch, False if of its last."""
        return self.column != self.metric

    @property
    def epoch(self) -> str:
        """The epoch of the figures, in words; "" for the last."""
        if not self.is_of_best_epoch:
            return ""
        return f"epoch of best {self.monitor}" if self.monitor else "best epoch of each run"

    @property
    def meaning(self) -> str:
        """A line that explains the figures and the intervals; "" if there is nothing to explain."""
        words = [f"figures of the {self.epoch or 'last epoch'}"] if self.column != "seconds" else []
        by_fold, with_seeds = self.is_by_fold, any(group.over[1] > 1 for group in self.groups)
        if any(group.sd is not None for group in self.groups):
            over = "folds and seeds" if by_fold and with_seeds else "folds" if by_fold else "seeds"
            words.append(f"mean ± standard deviation over {over}")
        margins = [g.beside for g in self.groups if g.beside and math.isfinite(g.beside.margin)]
        if margins:
            pairs = {found.is_paired for found in margins}
            how = "seed by seed" if pairs == {True} else "seed by seed where two or more are shared"
            how = "between means, for fewer than two seeds are shared" if pairs == {False} else how
            if by_fold and pairs == {True}:
                how = "fold by fold and seed by seed" if with_seeds else "fold by fold"
                how += ", corrected for training examples that folds share (Nadeau and Bengio 2003)"
            words.append(f"differences {how}, ± half their 95 % interval")
            if self.comparisons > 1:
                words[-1] += f", wider as {self.comparisons} comparisons at once ask for (Holm)"
        return "; ".join(words)

    @property
    def is_by_fold(self) -> bool:
        """True if figures of several folds are compared."""
        return any(group.folds and group.over[0] > 1 for group in self.groups)

    def verdict(self, group: SettingResult) -> str:
        """The test of a setting against the reference, in words."""
        found = group.beside
        if group.is_apart:
            return "not compared: of other folds"
        if found is None:
            return "" if group.values or group.diverged else "not measured"
        n = f"(n = {found.n})"
        if not found.is_known:
            is_same = found.mean == found.margin == 0
            one = f"one {'fold' if self.is_by_fold else 'seed'} cannot tell"
            one = one if found.n < 2 else "not distinguishable"
            return f"{'the same' if is_same else one} {n}"
        better = "better" if (found.mean > 0) is self.higher_is_better else "worse"
        scale, unit = (100, " points") if figure_of(self.metric) in FRACTIONS else (1, "")
        apart, margin = abs(found.mean) * scale, found.margin * scale
        if not margin:  # the difference is the same for every seed
            return f"{better} by {apart:.4g}{unit} {n}"
        places = decimals(margin)
        return f"{better} by {apart:.{places}f} ± {margin:.{places}f}{unit} {n}"

    def plain(self) -> dict[str, Any]:
        """The comparison as a dict for JSON and tables."""
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
                    "values": {said_replicate(key): value for key, value in group.values.items()},
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
        """The comparison as CSV: differing keys, mean, sd, n, difference, margin, verdict, diverged, run.

        The runs of a setting are in one cell, with spaces between them.
        """
        keys = list(dict.fromkeys(key for group in self.groups for key in group.shown))
        lines = StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(
            map(cell, [*keys, self.metric, "sd", "n", "difference", "margin", "verdict", "diverged", "run"])
        )
        for group in self.groups:
            settings = [written(group.shown[key]) if key in group.shown else "" for key in keys]
            beside: list[Any] = ["", ""]
            if group.beside:
                mean, margin = group.beside.mean, group.beside.margin
                beside = [float(f"{each:.6g}") if math.isfinite(each) else "" for each in (mean, margin)]
            figures = [
                group.mean if group.values else "",
                "" if group.sd is None else group.sd,
                len(group.values),
            ]
            writer.writerow(
                map(
                    cell,
                    [
                        *settings,
                        *figures,
                        *beside,
                        self.verdict(group),
                        len(group.diverged),
                        " ".join(group.every_name),
                    ],
                )
            )
        return lines.getvalue()


def compare_runs(
    records: Sequence[Record],
    metric: str | None = None,
    *,
    ranked: bool = False,
    parts: Parts | None = None,
    values: Mapping[Path, dict[str, Any]] | None = None,
    higher: bool | None = None,
) -> Comparison:
    """Group runs by setting and compare each setting with the first, or, if `ranked`, with the best.

    The table shows the keys that differ between their configs, or the `values` that a sweep set in the run
    of each folder. `metric` is a column as in `Record.of_seeds`, by default the first metric of the split
    that was evaluated; if a `higher` one is better, is looked up among `parts` unless it is given. Raises
    UserError if nothing can be compared.
    """
    notes: list[str] = []
    done = [each for each in records if each.run.status(each.summary) in DONE and not each.unread]
    if not done:
        standing = [f"{each.run.name} ({each.run.status(each.summary)})" for each in records]
        raise UserError(f"there is no finished run to compare: {some(standing) or 'none is named'}")
    metric = _usual(done, ranked) if metric is None else metric
    groups = _grouped(records, metric, notes, values or {})
    named_first = groups[:1]
    measured = [group for group in groups if group.values]
    if not measured:
        columns = list(dict.fromkeys(column for each in done for column in each.columns()))
        raise UserError(f"no finished run has measured {shortened(metric)!r}{nearest(metric, columns)}")
    higher = is_higher_better(metric, parts or Parts()) if higher is None else higher
    if higher is None:
        notes.append(f"it is unknown if a higher or a lower {shortened(metric)} is better; lower is assumed")
    if ranked:
        # a setting without some of its seeds comes last: those that failed might have been worse
        measured.sort(key=lambda group: (not group.is_whole, -group.mean if higher else group.mean))
    groups = measured + [group for group in groups if not group.values]
    _note_unmeasured(groups, metric, notes, is_first=ranked or named_first == measured[:1])
    comparisons = _compare(measured, ranked=ranked)
    for group, shown in zip(groups, telling([group.setting for group in groups], notes), strict=True):
        group.shown = shown
    _show_asked(groups, notes)
    if len({group.folds for group in measured}) > 1:
        what = "not all settings have the same folds"
        notes.append(f"{what}: those of other ones are not compared, for other examples are held out")
    note_other_losses(measured, metric, notes)
    note_other_examples(done, metric, notes)
    averaged = [each for each in done if each.takes_averaged and f"{metric}{AVERAGED}" in each.columns()]
    if averaged:
        notes.append(f"of runs that take averaged weights, {metric} is the figure of those")
    note_versions(done, notes)
    if ranked and len(groups) > 1 and metric.removeprefix("best.").startswith("train"):
        notes.append(said_of_training(metric, done))
    monitors = {str(at(each.summary, "best", "monitor") or "") for each in done}
    monitor = monitors.pop() if len(monitors) == 1 else ""
    return Comparison(metric, bool(higher), groups, ranked, comparisons, notes, monitor)


def _note_unmeasured(
    groups: Sequence[SettingResult], metric: str, notes: list[str], *, is_first: bool
) -> None:
    """Note which settings have no figure, and which one others are compared with if it `is_first` no more."""
    names = [name for group in groups if not group.values for name in group.names]
    if names:
        have = f"{some(names)} {'has' if len(names) == 1 else 'have'} no {metric}"
        beside = f": others are compared with {some(groups[0].names)}, the first that has it"
        notes.append(have if is_first else have + beside)


def _show_asked(groups: Sequence[SettingResult], notes: list[str]) -> None:
    """Show the values that the sweep set instead of all differing keys, if they identify each setting.

    The other keys that differ are noted.
    """
    asked = [group.asked for group in groups if group.asked is not None]
    if len({repr(each) for each in asked}) < len(groups):
        return
    known = {key.removesuffix(".name") for each in asked for key in each}
    others = dict.fromkeys(key for group in groups for key in group.shown)
    if left := [key for key in others if key.removesuffix(".name") not in known]:
        notes.append(f"these keys differ too: {some(left)}")
    for group in groups:
        group.shown = group.asked or {}


def _compare(measured: Sequence[SettingResult], *, ranked: bool) -> int:
    """Test each setting against the first; return the number of comparisons to correct for.

    If they are ranked, the first was chosen by its figures, so all pairs count as compared.
    """
    first, *others = measured
    step = step_of(value for group in measured for value in group.values.values())

    def beside(one: SettingResult, other: SettingResult) -> Difference | None:
        held_out = [*one.held_out, *other.held_out]
        if one.folds != other.folds:
            return None
        return difference(one.values, other.values, step, fmean(held_out) if held_out else 0.0)

    for group in others:
        group.beside = beside(first, group)
        group.is_apart = group.beside is None
    told = [group.beside for group in others if group.beside]
    chances = [each.chance for each in told]
    if ranked and len(measured) <= _MOST_PAIRED:
        pairs = (beside(a, b) for a, b in combinations(others, 2))
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


def _grouped(
    records: Iterable[Record], metric: str, notes: list[str], values: Mapping[Path, dict[str, Any]]
) -> list[SettingResult]:
    """Group runs by their setting, in the order of the first run of each."""
    groups: dict[str, SettingResult] = {}
    unread, unfinished, twice = [], [], []
    records = list(records)
    names = names_apart((each.run.name, each.run.folder) for each in records)
    for each, name in zip(records, names, strict=True):
        status = each.run.status(each.summary)
        if each.unread:
            unread.append(name)
            continue
        setting, asked = each.setting(metric), values.get(each.run.folder)
        if asked is not None and each.fold is not None:
            asked = {key: value for key, value in asked.items() if key != FOLD}
        group = groups.setdefault(repr(sorted(setting.items())), SettingResult(setting, asked=asked))
        if status not in ENDED:
            unfinished.append(f"{name} ({status})")
            group.begun |= {each.replicate(seed) for seed in each.seeds}
            continue
        if status == "diverged":
            group.diverged.append(name)
            continue
        figures = {each.replicate(seed): figure for seed, figure in each.of_taken_weights(metric).items()}
        if again := [key for key in figures if key in group.values]:
            is_same = all(figures[key] == group.values[key] for key in again)
            numbers = f"seed{'s' if len(again) > 1 else ''} {some([said_replicate(key) for key in again])}"
            numbers = numbers if each.fold is None else some([said_replicate(key) for key in again])
            twice.append(f"{numbers} of {name}{'' if is_same else ', where the figure was another'}")
        group.values = dict(sorted((figures | group.values).items(), key=in_order))
        group.runs.append(each.run)
        if each.fold is not None:
            held_out, others = (at(each.summary, "data", "examples", name) for name in ("valid", "train"))
            group.held_out += [held_out / others] if held_out and others else []
        group.names.append(name)
    for left_out, why in (
        (unread, "their configs cannot be read"),
        (unfinished, "they are not finished"),
        (twice, "the same seed was trained before"),
    ):
        if left_out:
            notes.append(f"left out, as {why}: {some(left_out)}")
    return [group for group in groups.values() if group.runs or group.diverged]


def _usual(records: Sequence[Record], ranked: bool) -> str:
    """The default metric: the first one of the split that was evaluated, or its loss if there is no other.

    The test set is not used by default to rank settings: choosing the best by it would bias its figure.
    """
    columns = [column for each in records for column in each.columns() if "." not in column]
    for split in ("valid_", "train_") if ranked else ("valid_", "test_", "train_"):
        names = [column for column in columns if column.startswith(split)]
        if names:
            return next((name for name in names if not name.endswith("_loss")), names[0])
    return "train_loss"


def is_higher_better(metric: str, parts: Parts) -> bool | None:
    """True if a higher figure of a column is better; None if the metric is none of these parts."""
    figure = figure_of(metric)
    if metric == "seconds" or figure == "loss":
        return False
    if figure not in parts.names("metrics"):
        return None
    return bool(parts.part("metrics", figure).constants.get("better", "higher") == "higher")
