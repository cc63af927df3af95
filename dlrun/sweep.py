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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dlrun import config as configs
from dlrun import runs
from dlrun.axes import MOST_VALUES, Axis, axis, combinations, draws, words
from dlrun.components import Parts
from dlrun.config import Config
from dlrun.errors import ConfigError, UserError, nearest, one_line
from dlrun.files import write_atomically
from dlrun.runs import Run

FILE = "sweep.json"
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
