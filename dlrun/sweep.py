"""One config and lists of values become many runs, in one folder that goes on where it was stopped.

runs/spiral_relu-sweep-001/
    sweep.json             the command, the values, and for each run what is set in it
    results.csv            the settings, the best first, with mean, sd and n of their seeds
    plots/*.png
    workers.log            what the processes that trained said, beyond the log of each run
    spiral_relu-001/ …     ordinary runs
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from dlrun import config as configs
from dlrun import runs
from dlrun.axes import MOST_VALUES, Axis, axis, combinations, draws, words
from dlrun.components import Parts
from dlrun.config import Config
from dlrun.errors import ConfigError, UserError, nearest, one_line
from dlrun.files import write_atomically
from dlrun.runs import Run
from dlrun.signals import Signals
from dlrun.workers import Word, Workers

FILE = "sweep.json"
REFRESH = 0.25  # seconds
_DONE = ("finished", "stopped early")
_ON_THE_COMMAND_LINE = "on the command line:"


@dataclass(frozen=True)
class Setting:
    """One combination of values, key -> value, and the configs that train it: of each seed, or of all."""

    values: dict[str, Any]
    configs: list[Config]


@dataclass(frozen=True)
class Trial:
    """One run of a sweep, with what is set in it."""

    run: Run
    values: dict[str, Any]


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder."""

    folder: Path
    content: dict[str, Any]  # of sweep.json

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def trials(self) -> list[Trial]:
        """The runs, in the order in which they are trained."""
        return [Trial(Run(self.folder / each["run"]), each["values"]) for each in self.content["runs"]]

    @property
    def plots(self) -> Path:
        return self.folder / "plots"

    def write(self) -> None:
        """Replace sweep.json."""
        text = json.dumps(runs.finite(self.content), indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(
            self.folder / FILE, lambda file: file.write(f"{text}\n".encode(errors="backslashreplace"))
        )

    def unfinished(self) -> list[Trial]:
        """The runs that are left to train: never begun, interrupted, or failed for want of something.

        One that diverged would only diverge again.
        """
        left = []
        for trial in self.trials:
            summary = trial.run.summary()
            if summary.get("status") not in (*_DONE, "diverged"):
                left.append(trial)
        return left


@dataclass
class Progress:
    """How one run of a sweep stands. `best` is its best monitored figure so far, mean over its seeds."""

    trial: Trial
    seeds: list[int]
    status: str  # as of the run's summary, or waiting
    epoch: int = 0
    epochs: int = 0
    best: float | None = None
    lines: list[str] = field(default_factory=list)  # of the error that ended it


class View(Protocol):
    """What is shown of a sweep while it trains."""

    def begin(self, sweep: Sweep, progress: Sequence[Progress], jobs: int) -> None: ...
    def ended(self, progress: Progress) -> None: ...
    def refresh(self) -> None: ...
    def end(self) -> None: ...


def train(
    sweep: Sweep, jobs: int, view: View, parts: Path | None, data_dir: Path
) -> tuple[list[Progress], int | None]:
    """Train the runs of a sweep that are left, `jobs` at a time; how all stand, and what signal stopped it.

    A run that fails stops no other. A signal has those that train saved and left where they are; a second
    one ends them at once. Raises RunFailed where another process has the sweep.
    """
    progress = {trial.run.folder: _standing(trial) for trial in sweep.trials}
    waiting = deque(trial.run.folder for trial in sweep.unfinished())
    log = sweep.folder / "workers.log"
    with Run(sweep.folder).lock(), Signals() as signals, Workers(jobs, log, parts, data_dir) as workers:
        view.begin(sweep, list(progress.values()), jobs)
        told: set[Path] = set()
        try:
            while workers.training or (waiting and not signals.received):
                while waiting and workers.is_free and not signals.received:
                    folder = waiting.popleft()
                    workers.train(folder)
                    progress[folder].status = "training"
                if signals.received:
                    for folder in {*workers.training} - told:
                        workers.stop(folder)
                        told.add(folder)
                for word in workers.words(REFRESH):
                    _heard(word, progress[word.folder])
                    if word.kind in ("end", "lost"):
                        if progress[word.folder].status == "interrupted" and not signals.received:
                            waiting.append(word.folder)
                        view.ended(progress[word.folder])
                view.refresh()
        except BaseException:
            workers.kill()
            raise
        finally:
            view.end()
    return list(progress.values()), signals.received


def _standing(trial: Trial) -> Progress:
    """How a run stands before anything is done about it."""
    summary = trial.run.summary()
    best = summary.get("best")
    figures = best.get("figures", {}).get(best.get("monitor"), {}) if isinstance(best, dict) else {}
    return Progress(
        trial,
        summary.get("seeds", []),
        summary.get("status", "waiting"),
        summary.get("epochs", 0),
        summary.get("planned_epochs", 0),
        figures.get("mean"),
    )


def _heard(word: Word, progress: Progress) -> None:
    """Take note of what a worker says of a run."""
    if word.kind in ("begin", "row"):
        progress.epoch, progress.epochs, progress.best = word.epoch, word.epochs, word.best
        return
    progress.lines = word.lines
    if word.kind == "lost":
        progress.lines = [f"error: its process was killed (exit code {word.exit_code})"]
    fresh = _standing(progress.trial)
    progress.epoch, progress.epochs, progress.best = fresh.epoch, fresh.epochs, fresh.best
    progress.status = fresh.status if fresh.status not in ("running", "waiting") else "failed"


def settings(
    path: Path, given: Sequence[str], seeds: Sequence[int] | None, count: int | None, parts: Parts
) -> list[Setting]:
    """What a sweep of the config at `path` goes through, each combination checked.

    `given` are KEY=VALUES words beside those under `sweep:` in the file. `count` combinations are drawn at
    random, else all are taken. `seeds` are those of each, by default the config's own.
    Raises ConfigError with the mistakes of all combinations, UserError where values cannot be read.
    """
    axes, plain = axes_of(path, given)
    plain += [f"seeds={json.dumps(list(seeds))}"] if seeds is not None else []
    found, mistakes = list[Setting](), dict[str, None]()
    for values in combinations(axes) if count is None else draws(axes, count):
        try:
            config = configs.load(path, [*plain, *words(values)], parts)
        except ConfigError as error:
            mistakes |= dict.fromkeys(error.mistakes)
            continue
        found.append(Setting(values, of_each_seed(config)))
    if mistakes:
        raise ConfigError(str(path), list(mistakes))
    if sum(len(setting.configs) for setting in found) > MOST_VALUES:
        raise UserError(f"a sweep has at most {MOST_VALUES:,} runs", fix="take fewer values, or fewer seeds")
    return found


def axes_of(path: Path, given: Sequence[str]) -> tuple[list[Axis], list[str]]:
    """The keys with several values, of the file and of the command line, and the words with one alone.

    Where both name a key, the command line counts.
    """
    named, plain = dict[str, Axis](), list[str]()
    for key, (written, where) in _of_file(path).items():
        named[key] = axis(key, written, where)
    for word in given:
        key, equals, written = word.partition("=")
        if not equals or not key:
            raise UserError(f"{one_line(word)[:60]!r} is not of the form KEY=VALUES")
        found = axis(key, written, _ON_THE_COMMAND_LINE)
        if isinstance(found.values, list) and len(found.values) == 1:
            named.pop(key, None)
            plain.append(word)
        else:
            named[key] = found
    if not named:
        raise UserError(
            "there is nothing to go through: no key has several values",
            fix="give some, such as optimizer.lr=1e-4,1e-3, or under sweep: in the config",
        )
    return list(named.values()), plain


def _of_file(path: Path) -> dict[str, tuple[Any, str]]:
    """What stands under `sweep:` in a config, key -> values and their place."""
    written = configs.read(path).value.get(configs.SWEEP)
    if written is None or written.value is None:
        return {}
    if not isinstance(written.value, dict):
        raise UserError("sweep: names keys with their values", where=str(written.place))
    return {key: (each.plain(), str(each.place)) for key, each in written.value.items()}


def of_each_seed(config: Config) -> list[Config]:
    """A config for each of its seeds; seeds that train as one model stay together."""
    return [config] if config.is_stacked else [replace(config, seeds=[seed]) for seed in config.seeds]


def create(parent: Path, name: str, chosen: Sequence[Setting], **more: Any) -> Sweep:
    """A new folder parent/name-sweep-NNN with the folder of every run, each with its resolved config.

    A folder without sweep.json is one whose making was cut short: there is nothing in it to go on with.
    `more` is kept in sweep.json.
    """
    folder = runs.new_folder(parent, f"{name}-sweep")
    listed = []
    for setting in chosen:
        for config in setting.configs:
            run = runs.create(folder, config.name, configs.dump(config))
            listed.append({"run": run.name, "values": setting.values, "seeds": config.seeds})
    content = {"started": runs.now(), "command": runs.command_line(), **more, "runs": listed}
    sweep = Sweep(folder, content)
    sweep.write()
    return sweep


def find(text: str, parent: Path) -> Sweep:
    """The sweep that `text` names: `last`, a folder, or a prefix of one name in `parent` alone.

    Raises UserError where there is none, or more than one, or where its folder is not as dlrun made it.
    """
    path = Path(text)
    if not (path / FILE).is_file():
        there = sorted((each for each in parent.glob(f"*/{FILE}")), key=lambda file: file.stat().st_mtime)
        names = [file.parent.name for file in there]
        matching = names[-1:] if text == "last" else [name for name in names if name.startswith(text)]
        matching = [text] if text in names else matching
        if len(matching) != 1:
            what = (
                f"{text} could be {', '.join(matching[:5])}" if matching else f"there is no sweep {text[:80]}"
            )
            raise UserError(one_line(what) + ("" if matching else nearest(text, names)))
        path = parent / matching[0]
    return read(path)


def read(folder: Path) -> Sweep:
    """The sweep in a folder, which anybody may have written: every run of it lies in it.

    Raises UserError where sweep.json is not as dlrun writes it.
    """
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        listed = content["runs"]
        sound = all(
            isinstance(each["run"], str)
            and runs.is_name(each["run"])
            and isinstance(each["values"], dict)
            and isinstance(each["seeds"], list)
            for each in listed
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise UserError("this is no sweep as dlrun writes it", where=str(folder / FILE))
    return Sweep(folder, content)
