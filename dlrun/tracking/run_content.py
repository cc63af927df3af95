"""All of a run that a tracker shows, read from the files of its folder."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any

from dlrun.config.keys import SPLITS, identifies
from dlrun.errors import UserError
from dlrun.run_folders.pictures import Picture, files_in, read_picture
from dlrun.run_folders.records import LARGEST, Record, read_record
from dlrun.run_folders.run import Run
from dlrun.run_folders.sound_entries import summary_entries
from dlrun.run_folders.surroundings import surroundings_of
from dlrun.system.bounds import CONFIG
from dlrun.system.files import read_bounded
from dlrun.system.processes import quoted

Figures = dict[str, float]  # name in a tracker, such as valid/loss -> value
WHOLE = ""  # the name of the curves of the run itself, beside those of its seeds


@dataclass
class Curves:
    """The figures of each epoch, and those of the run as a whole: of one seed, or means over several."""

    seed: int | None  # None for means
    rows: dict[int, Figures] = field(default_factory=dict)
    results: Figures = field(default_factory=dict)


@dataclass(frozen=True)
class RunContent:
    """The run of one moment; `curves` has the run itself under WHOLE, and each of several seeds."""

    id: str  # the same as long as the run is; two runs never share it
    name: str
    sweep: str  # the name of the sweep that it is of, or ""
    folder: Path
    status: str
    started: float  # seconds since 1970
    updated: float  # seconds since 1970
    times: dict[int, float]  # epoch -> its end in seconds since 1970, as if nothing but training took time
    config: dict[str, Any]  # flat, with keys such as optimizer.lr
    config_text: str
    curves: dict[str, Curves]
    about: dict[str, str]
    results: str  # a table in Markdown

    @property
    def is_over(self) -> bool:
        return self.status != "running"

    @property
    def epochs(self) -> int:
        """The last epoch that has figures, or 0."""
        return max(self.times, default=0)

    @property
    def settings(self) -> dict[str, Any]:
        """The keys of the config that figures depend on."""
        return {key: value for key, value in self.config.items() if identifies(key)}

    def id_of(self, curves: str) -> str:
        """The id of the run itself, or of the curves of one of its seeds."""
        return f"{self.id}-{curves}" if curves else self.id

    def pictures(self) -> Iterator[Picture]:
        """Yield the pictures in the run's folder."""
        for path in files_in(self.folder / "plots"):
            if picture := read_picture(path, path.stem):
                yield picture


def content_of(run: Run) -> RunContent:
    """Read a run. Raises UserError if its summary or metrics.csv cannot be read."""
    record = read_record(run)
    summary, _ = summary_entries(record.summary)
    started = _seconds(summary["started"])
    if started is None:
        raise UserError("there is no summary.json that can be read", where=str(run.folder))
    status = run.status(record.summary)
    rows: Mapping[str, Sequence[Any]] = run.rows()
    if status == "running":
        rows = _complete_epochs(rows, len(summary["seeds"]))
    curves = _curves(rows, summary["seeds"])
    for name, each in curves.items():
        each.results |= _best(summary, None if len(curves) == 1 else each.seed)
        if name == WHOLE:
            each.results |= _baselines(summary)
    data = summary["data"]
    identity = [summary["started"], record.summary.get("name"), data and data["fingerprint"]]
    return RunContent(
        id=sha256(repr(identity).encode()).hexdigest()[:16],
        name=record.name,
        sweep=record.name.rpartition("/")[0],
        folder=run.folder,
        status=status,
        started=started,
        updated=_seconds(summary["updated"]) or started,
        times=_times(rows, started),
        config=record.config,
        config_text=_config_text(run),
        curves=curves,
        about=_about(record, summary, status),
        results=_table(summary),
    )


def tag_of(column: str) -> str:
    """A column of metrics.csv as trackers group it: valid/loss for valid_loss."""
    split, _, figure = column.partition("_")
    return f"{split}/{figure}" if split in SPLITS and figure else column


def _complete_epochs(rows: Mapping[str, Sequence[Any]], seeds: int) -> dict[str, Sequence[Any]]:
    """The rows without those of a last epoch of which some seeds are still in the writer's buffer.

    If it has fewer because a seed has stopped, it is there as soon as the next epoch is.
    """
    epochs = list(rows.get("epoch", ()))
    last = epochs.count(epochs[-1]) if epochs else 0
    before = epochs.count(epochs[-1 - last]) if len(epochs) > last else seeds
    end = len(epochs) - last if last < before else len(epochs)
    return {column: values[:end] for column, values in rows.items()}


def _curves(rows: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> dict[str, Curves]:
    """The curves of each seed by its name, and of several their means, as the run itself."""
    columns = {tag_of(column): values for column, values in rows.items() if column not in ("epoch", "seed")}
    of_seeds = {seed: Curves(seed) for seed in seeds}
    for place, (epoch, seed) in enumerate(zip(rows.get("epoch", ()), rows.get("seed", ()), strict=False)):
        figures = {
            tag: values[place]
            for tag, values in columns.items()
            if place < len(values) and values[place] is not None
        }
        of_seeds.setdefault(seed, Curves(seed)).rows[epoch] = figures
    if len(of_seeds) == 1:
        return {WHOLE: next(iter(of_seeds.values()))}
    means = Curves(None)
    for epoch in sorted({epoch for curves in of_seeds.values() for epoch in curves.rows}):
        there = [curves.rows[epoch] for curves in of_seeds.values() if epoch in curves.rows]
        means.rows[epoch] = {
            tag: fmean(values)
            for tag in columns
            if (values := [own[tag] for own in there if tag in own and abs(own[tag]) < LARGEST])
        }
    return {WHOLE: means} | {f"seed_{seed}": curves for seed, curves in sorted(of_seeds.items())}


def _times(rows: Mapping[str, Sequence[Any]], started: float) -> dict[int, float]:
    """The end of each epoch, by the seconds that each took."""
    of_epochs = dict(zip(rows.get("epoch", ()), rows.get("seconds", ()), strict=False))
    times, now = {}, started
    for epoch, seconds in sorted(of_epochs.items()):
        now += seconds if seconds is not None and 0 <= seconds < LARGEST else 0.0
        times[epoch] = now
    return times


def _best(summary: Mapping[str, Any], seed: int | None) -> Figures:
    """The figures of the best epoch of a seed, or means over all seeds."""
    best = summary["best"]
    if not best:
        return {}
    epoch = best["epoch"] if seed is None else best["epochs"].get(str(seed))
    place = summary["seeds"].index(seed) if seed in summary["seeds"] else None
    found = {} if epoch is None else {"best/epoch": float(epoch)}
    for column, of_seeds in best["figures"].items():
        values = of_seeds["values"]
        value = of_seeds["mean"] if seed is None else None
        if place is not None and place < len(values):
            value = values[place]
        if value is not None and column not in ("lr", "seconds"):
            found[f"best/{tag_of(column)}"] = value
    return found


def _baselines(summary: Mapping[str, Any]) -> Figures:
    """The figures of guesses without a model."""
    return {
        f"baseline/{name}/{split}/{figure}": value
        for split, of_split in summary["baselines"].items()
        for name, figures in of_split.items()
        for figure, value in figures.items()
        if value is not None
    }


def _about(record: Record, summary: Mapping[str, Any], status: str) -> dict[str, str]:
    """Status, claims, command, machine, versions and data, in words."""
    told = {"status": status, "folder": str(record.run.folder.absolute())}
    if summary["command"]:
        told["command"] = quoted(summary["command"])
    for claim in summary["expect"]:
        verdict = {True: "met", False: "not met", None: "not judged"}[claim["met"]]
        told[f"claim.{claim['column']}"] = f"{claim['claim']}: {verdict}"
    if (parameters := summary["parameters"]) is not None:
        told["parameters"] = str(parameters)
    if summary["data"]:
        told |= {f"examples.{split}": str(n) for split, n in summary["data"]["examples"].items()}
    found = surroundings_of(record)
    told |= {name: str(value) for name, value in found.items() if value is not None and name not in told}
    if summary["warnings"]:
        told["warnings"] = "\n".join(summary["warnings"])
    return told


def _table(summary: Mapping[str, Any]) -> str:
    """The figures after the last and the best epoch beside baselines, as a table in Markdown."""
    final, best = summary["final"], summary["best"]["figures"] if summary["best"] else {}
    columns = [column for column in final if column not in ("lr", "seconds")]
    names = list(dict.fromkeys(name for of_split in summary["baselines"].values() for name in of_split))
    lines = [["figure", "last epoch", "best epoch", *names]]
    for column in columns:
        split, _, figure = column.partition("_")
        guesses = [summary["baselines"].get(split, {}).get(name, {}).get(figure) for name in names]
        lines.append([column, _mean(final.get(column)), _mean(best.get(column)), *map(_number, guesses)])
    rows = [f"| {' | '.join(cell.replace('|', ' ') for cell in line)} |" for line in lines]
    return "\n".join([rows[0], "|---" * len(lines[0]) + "|", *rows[1:]]) if columns else ""


def _mean(figures: Mapping[str, Any] | None) -> str:
    if figures is None:
        return ""
    spread = f" ± {_number(figures['sd'])}" if figures["sd"] is not None else ""
    return f"{_number(figures['mean'])}{spread}"


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.4g}"


def _seconds(stamp: str) -> float | None:
    """The seconds since 1970 at a time of a summary; None if it is none."""
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except (ValueError, OverflowError):
        return None


def _config_text(run: Run) -> str:
    try:
        return read_bounded(run.config, CONFIG).decode(errors="replace")
    except OSError:
        return ""
