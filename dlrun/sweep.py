"""One config and lists of values become many runs, some of them at a time."""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from dlrun import __version__, sweep_folder
from dlrun import compare as comparisons
from dlrun import config as configs
from dlrun.axes import MOST_VALUES, Axis, axis, combinations, draws, words
from dlrun.compare import Comparison, Said
from dlrun.components import Parts
from dlrun.config import Config
from dlrun.data import Loaded, Watching, steps, unwatched
from dlrun.errors import ConfigError, UserError, shortened
from dlrun.files import write_atomically
from dlrun.hardware import cores, versions
from dlrun.plan import Plan, make_plan
from dlrun.plots import _settings as pictures
from dlrun.search import BASE, Search
from dlrun.signals import Signals
from dlrun.sweep_folder import Sweep, Trial
from dlrun.trainer import Batch, fit
from dlrun.workers import Word, Workers

REFRESH = 0.25  # seconds
DONE = ("finished", "stopped early")
OPEN = ("waiting", "training")  # how a run stands that has not ended
LONGEST_TRIAL = 2.0  # seconds that a look at the speed may take
_ON_THE_COMMAND_LINE = "on the command line:"


@dataclass(frozen=True)
class Setting:
    """One combination of values, key -> value, and the configs that train it: of each seed, or of all."""

    values: dict[str, Any]
    configs: list[Config]


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
        found.append(Setting(values, sweep_folder.of_each_seed(config)))
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
            raise UserError(f"{shortened(word)!r} is not of the form KEY=VALUES")
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


@dataclass(frozen=True)
class Prepared:
    """A sweep before there is a folder: what is trained, how much at a time, and where it is tried first."""

    settings: list[Setting]
    jobs: int
    plan: Plan  # of the first run
    loaded: Loaded  # its data
    data_dir: Path

    @property
    def runs(self) -> list[tuple[dict[str, Any], Config]]:
        """The values set in each run with its config."""
        return [(setting.values, config) for setting in self.settings for config in setting.configs]

    def make(self, parent: Path, metric: str | None, finished: Sequence[Said] = ()) -> Sweep:
        """The sweep's folder with the folder of every run, each with its resolved config.

        A run that one of the `finished` ones answers, trained from the same config with the same versions on
        the same data, is not made: that one stands for it.
        """
        name = self.plan.config.name
        sweep = sweep_folder.create(parent, name, jobs=self.jobs, metric=metric)
        answers = {answered(said.config, said.summary): said.run for said in finished}
        fingerprints = {repr(self.plan.config.dataset): self.loaded.fingerprint}
        for values, config in self.runs:
            if answers:
                data = repr(config.dataset)
                if data not in fingerprints:
                    plan = make_plan(config, self.plan.parts, self.data_dir)
                    fingerprints[data] = plan.load().fingerprint
                now = {"data": {"fingerprint": fingerprints[data]}, "versions": this_code()}
                if run := answers.get(answered(comparisons.flat(config.plain()), now)):
                    sweep.borrow(values, run, config.seeds)
                    continue
            sweep.add(values, config)
        sweep.write()
        return sweep


def prepare(
    chosen: list[Setting], jobs: int | None, parts: Parts, data_dir: Path, watching: Watching = unwatched
) -> Prepared:
    """Check all that can be checked before there is a folder, and share the cores among the runs.

    Without `jobs` as many train at once as there are cores, or one on an accelerator. A run takes no more
    threads than its share of the cores, and its config says how many where that is fewer than alone.
    Raises ConfigError with the mistakes of all settings.
    """
    plans, mistakes = list[Plan](), dict[str, None]()
    for setting in chosen:
        try:
            plans.append(make_plan(setting.configs[0], parts, data_dir))
        except ConfigError as error:
            mistakes |= dict.fromkeys(error.mistakes)
    if mistakes:
        raise ConfigError(chosen[0].configs[0].tree.place.source, list(mistakes))
    loaded = plans[0].load(watching=watching)
    plans[0].try_on(loaded)
    count = sum(len(setting.configs) for setting in chosen)
    usual = cores() if plans[0].device.type == "cpu" else 1
    jobs = min(jobs or usual, count)
    share = max(1, cores() // jobs)
    fitted = []
    for setting, plan in zip(chosen, plans, strict=True):
        threads = plan.hardware(loaded).threads
        is_too_many = plan.config.threads == "auto" and threads > share
        changes: dict[str, Any] = {"threads": share} if is_too_many else {}
        fitted.append(Setting(setting.values, [replace(config, **changes) for config in setting.configs]))
    return Prepared(fitted, jobs, plans[0], loaded, data_dir)


def make_search(
    path: Path,
    given: Sequence[str],
    seeds: Sequence[int] | None,
    count: int,
    jobs: int | None,
    parent: Path,
    parts: Parts,
    data_dir: Path,
    watching: Watching = unwatched,
) -> Sweep:
    """The folder of a sweep whose settings, `count` of them, are drawn by what was good: no runs yet.

    Raises as `settings` and `prepare` do.
    """
    axes, plain = axes_of(path, given)
    plain += [f"seeds={json.dumps(list(seeds))}"] if seeds is not None else []
    base = configs.load(path, plain, parts)
    one = Setting({}, sweep_folder.of_each_seed(base))
    prepared = prepare([one] * count, jobs, parts, data_dir, watching)
    plan = prepared.plan
    said = {
        "count": count,
        "axes": {axis.key: axis.plain() for axis in axes},
        "monitor": plan.monitor,
        "higher_is_better": plan.better[plan.monitor.split("_", 1)[1]] == "higher",
    }
    sweep = sweep_folder.create(
        parent, base.name, jobs=prepared.jobs, metric=f"best.{plan.monitor}", search=said
    )
    fitted = replace(prepared.settings[0].configs[0], seeds=base.seeds)
    text = configs.dump(fitted).encode()
    write_atomically(sweep.folder / BASE, lambda file: file.write(text))
    Search(sweep, parts)  # which says what is wrong while nothing was trained
    sweep.write()
    return sweep


def answered(config: dict[str, Any], summary: dict[str, Any]) -> str:
    """All that the figures of a run depend on, as a text: of two runs with the same one is enough."""
    asked = {key: value for key, value in config.items() if key.split(".")[0] not in comparisons.FREE}
    data, code = (summary.get(key) or {} for key in ("data", "versions"))
    return repr([sorted(asked.items()), data.get("fingerprint"), code.get("dlrun"), code.get("torch")])


def this_code() -> dict[str, str]:
    """The versions that the figures of a run depend on, as its summary has them."""
    return {"dlrun": __version__, **versions()}


def seconds(prepared: Prepared) -> float:
    """About how long all of it will take, from the first epochs or steps of the first run."""
    plan, loaded = prepared.plan, prepared.loaded
    hardware = plan.hardware(loaded)
    hardware.use()
    size = len(loaded["train"])
    per_epoch = steps(size, plan.config.batch_size)
    done, begun = 0, 0.0

    def few(batches: Iterator[Batch]) -> Iterator[Batch]:
        nonlocal done, begun
        for batch in batches:
            yield batch
            done += 1
            if done == 1:  # which makes ready what the others find
                begun = time.monotonic()
            elif time.monotonic() > begun + LONGEST_TRIAL:
                return

    for _ in fit(plan.state(hardware), loaded, plan.recipe, hardware, few):
        if time.monotonic() > begun + LONGEST_TRIAL:
            break
    of_step = (time.monotonic() - begun) / max(1, done - 1)
    return sum(of_step * per_epoch * config.epochs for _, config in prepared.runs) / prepared.jobs


@dataclass
class Progress:
    """How one run of a sweep stands. `best` is its best monitored figure so far, mean over its seeds."""

    trial: Trial
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


class Silent:
    """A view that shows nothing."""

    def begin(self, sweep: Sweep, progress: Sequence[Progress], jobs: int) -> None: ...
    def ended(self, progress: Progress) -> None: ...
    def refresh(self) -> None: ...
    def end(self) -> None: ...


@dataclass(frozen=True)
class Ended:
    """How a call of `train` ended: how each run stands, and which signal stopped it, if one did."""

    sweep: Sweep
    progress: list[Progress]
    signal: int | None

    @property
    def failed(self) -> list[Progress]:
        """The runs that ended without a result."""
        return [each for each in self.progress if each.status in ("failed", "diverged", "broken")]

    @property
    def exit_code(self) -> int:
        """As of a command: stopped by a signal, some failed, or all is well."""
        return 128 + self.signal if self.signal else int(bool(self.failed))

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        counts = Counter(each.status for each in self.progress)
        return {
            "sweep": str(self.sweep.folder),
            "runs": len(self.progress),
            "status": dict(counts),
            "failed": [{"run": each.trial.run.name, "error": each.lines} for each in self.failed],
            "signal": self.signal,
        }


def train(
    sweep: Sweep, jobs: int, view: View, parts: Path | None, data_dir: Path, search: Search | None = None
) -> Ended:
    """Train the runs of a sweep that are left, `jobs` at a time, and those that a search draws.

    A run that fails stops no other. A signal has those that train saved and left where they are; a second
    one ends them at once. Raises RunFailed where another process has the sweep.
    """
    log = sweep.folder / "workers.log"
    with sweep.lock(), Signals() as signals, Workers(jobs, log, parts, data_dir) as workers:
        every = [_standing(trial) for trial in sweep.trials]
        by_folder = {each.trial.run.folder: each for each in every}
        waiting = deque(trial.run.folder for trial in sweep.unfinished())
        told = set[Path]()

        def feed() -> None:
            while workers.is_free and not signals.received:
                if not waiting and search:
                    for trial in search.more():
                        every.append(_standing(trial))
                        by_folder[trial.run.folder] = every[-1]
                        waiting.append(trial.run.folder)
                if not waiting:
                    return
                folder = waiting.popleft()
                workers.train(folder)
                by_folder[folder].status = "training"

        def give_up(hopeless: Progress) -> None:
            for each in every:
                if each.trial.number == hopeless.trial.number:
                    folder = each.trial.run.folder
                    if folder in waiting:
                        waiting.remove(folder)
                    each.status = "given up" if each.status == "waiting" else each.status
                    workers.stop(folder)
                    told.add(folder)

        def ended(progress: Progress) -> None:
            folder = progress.trial.run.folder
            if progress.status == "interrupted" and not signals.received:
                if folder not in told:  # a signal that came too late for the run before it
                    waiting.append(folder)
                    progress.status = "waiting"
                    return
                progress.status = "given up"
            view.ended(progress)
            of_setting = [each for each in every if each.trial.number == progress.trial.number]
            if search and not any(each.status in OPEN for each in of_setting):
                figures = [each.best for each in of_setting if each.best is not None]
                is_whole = all(each.status in DONE for each in of_setting)
                is_given_up = any(each.status == "given up" for each in of_setting)
                search.ended(progress.trial.number, figures if is_whole else [], is_given_up=is_given_up)

        view.begin(sweep, every, jobs)
        try:
            feed()
            while workers.training:
                for word in workers.words(REFRESH):
                    progress = by_folder[word.folder]
                    _heard(word, progress)
                    if word.kind in ("end", "lost"):
                        ended(progress)
                    elif (
                        search
                        and word.folder not in told
                        and search.is_hopeless(progress.trial, progress.epoch, progress.best)
                    ):
                        give_up(progress)
                if signals.received:
                    for folder in {*workers.training} - told:
                        workers.stop(folder)
                        told.add(folder)
                feed()
                view.refresh()
        except BaseException:
            workers.kill()
            raise
        finally:
            view.end()
    return Ended(sweep, every, signals.received)


def _standing(trial: Trial) -> Progress:
    """How a run stands before anything is done about it."""
    summary = trial.run.summary()
    best = summary.get("best")
    figures = best.get("figures", {}).get(best.get("monitor"), {}) if isinstance(best, dict) else {}
    return Progress(
        trial,
        trial.run.status(summary) if summary else "waiting",
        summary.get("epochs", 0),
        summary.get("planned_epochs", 0),
        figures.get("mean"),
    )


def _heard(word: Word, progress: Progress) -> None:
    """Take note of what a worker says of a run."""
    if word.kind in ("begin", "row"):
        progress.epoch, progress.epochs, progress.best = word.epoch, word.epochs, word.best
        return
    fresh = _standing(progress.trial)
    progress.epoch, progress.epochs, progress.best = fresh.epoch, fresh.epochs, fresh.best
    progress.status, progress.lines = fresh.status, word.lines
    if word.kind == "lost":
        progress.status = "failed"
        progress.lines = [f"error: its process was killed (exit code {word.exit_code})"]
    elif progress.status in ("running", "waiting"):  # it did not come to saying so
        progress.status = "failed"


def conclude(
    sweep: Sweep, metric: str | None, parts: Parts, warn: Callable[[str], None]
) -> Comparison | None:
    """Rank the settings of a sweep, keep the table and draw the picture; None where nothing is finished."""
    said = [comparisons.read(trial.run) for trial in sweep.trials]
    try:
        ranked = comparisons.compare(said, metric or sweep.content.get("metric"), ranked=True, parts=parts)
    except UserError as error:
        warn(error.what)
        return None
    write_atomically(sweep.folder / "results.csv", lambda file: file.write(ranked.csv().encode()))
    pictures.draw_settings(ranked, sweep.name, sweep.plots / "settings.png")
    pictures.draw_curves(ranked, sweep.plots / "curves.png")
    return ranked
