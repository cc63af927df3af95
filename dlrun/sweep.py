"""One config and lists of values become many runs, some of them at a time."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from dlrun import __version__, runs, sweep_folder
from dlrun import compare as comparisons
from dlrun import config as configs
from dlrun.axes import EXAMPLE, in_order
from dlrun.compare import Comparison, Said
from dlrun.components import Parts
from dlrun.config import Config
from dlrun.data import Loaded, Watching, steps, unwatched
from dlrun.errors import ConfigError, UserError, nearest, shortened
from dlrun.files import write_atomically
from dlrun.hardware import cores, versions
from dlrun.plan import Plan, make_plan
from dlrun.plots import _settings as pictures
from dlrun.search import BASE, Search, load_optuna
from dlrun.settings import Setting, axes_of
from dlrun.signals import Signals
from dlrun.sweep_folder import Sweep, Trial
from dlrun.trainer import Batch, fit
from dlrun.workers import Word, Workers

REFRESH = 0.25  # seconds
OPEN = ("waiting", "training")  # how a run stands that has not ended
LONGEST_TRIAL = 2.0  # seconds that a look at the speed may take


@dataclass(frozen=True)
class Prepared:
    """A sweep before there is a folder: what is trained, how much at a time, and where it is tried first."""

    settings: list[Setting]
    jobs: int
    plan: Plan  # of the first run
    loaded: Loaded  # its data
    data_dir: Path

    @property
    def all(self) -> list[tuple[dict[str, Any], Config]]:
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
        for values, config in self.all:
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
    chosen: list[Setting],
    jobs: int | None,
    metric: str | None,
    parts: Parts,
    data_dir: Path,
    watching: Watching = unwatched,
    *,
    times: int = 1,
) -> Prepared:
    """Check all that can be checked before there is a folder, and share the cores among the runs.

    Without `jobs` as many train at once as there are cores, or one on an accelerator; never more than there
    are runs, `times` those of the settings. A run takes no more threads than its share of the cores, and its
    config says how many where that is fewer than alone. Raises ConfigError with the mistakes of all settings,
    UserError for a `metric` that is not measured.
    """
    plans, mistakes = list[Plan](), dict[str, None]()
    for setting in chosen:
        try:
            plans.append(make_plan(setting.configs[0], parts, data_dir))
        except ConfigError as error:
            mistakes |= dict.fromkeys(error.mistakes)
    source = chosen[0].configs[0].tree.place.source
    if mistakes:
        raise ConfigError(source, list(mistakes))
    columns = [*plans[0].recipe.columns(), *(f"best.{column}" for column in plans[0].recipe.columns())]
    if metric is not None and metric not in (*columns, "seconds"):
        raise UserError(f"--metric {shortened(metric)} is never measured{nearest(metric, columns)}")
    loaded = plans[0].load(watching=watching)
    for plan in plans:
        if plan.config.dataset == plans[0].config.dataset:
            try:
                plan.try_on(loaded)
            except ConfigError as error:
                mistakes |= dict.fromkeys(error.mistakes)
    if mistakes:
        raise ConfigError(source, list(mistakes))
    usual = cores() if plans[0].device.type == "cpu" else 1
    jobs = min(jobs or usual, times * sum(len(setting.configs) for setting in chosen))
    share = max(1, cores() // jobs)
    fitted = []
    for setting, plan in zip(chosen, plans, strict=True):
        is_too_many = plan.config.threads == "auto" and plan.hardware(loaded).threads > share
        changes: dict[str, Any] = {"threads": share} if is_too_many else {}
        fitted.append(Setting(setting.values, [replace(config, **changes) for config in setting.configs]))
    first = make_plan(fitted[0].configs[0], parts, data_dir)
    return Prepared(fitted, jobs, first, loaded, data_dir)


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
    load_optuna()  # which says what is wrong before there is a folder
    axes, plain = axes_of(path, given, seeds)
    if not axes:
        raise UserError("there is nothing to search: no key has several values", fix=EXAMPLE)
    base = configs.load(path, in_order(plain), parts)
    one = Setting({}, sweep_folder.of_each_seed(base))
    prepared = prepare([one], jobs, None, parts, data_dir, watching, times=count)
    plan = prepared.plan
    said = {
        "count": count,
        "words": [word for word in plain if not word.startswith("seeds=")],
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
    return sum(of_step * per_epoch * config.epochs for _, config in prepared.all) / prepared.jobs


@dataclass
class Progress:
    """How one run of a sweep stands. `best` is its best figure so far in `monitor`, mean over its seeds."""

    trial: Trial
    status: str  # as of the run's summary, or waiting
    epoch: int = 0
    epochs: int = 0
    monitor: str = ""
    best: float | None = None
    lines: list[str] = field(default_factory=list)  # of the error that ended it


class View(Protocol):
    """What is shown of a sweep while it trains."""

    def begin(self, sweep: Sweep, progress: Sequence[Progress], jobs: int) -> None: ...
    def ended(self, progress: Progress) -> None: ...
    def warn(self, text: str) -> None: ...
    def refresh(self) -> None: ...
    def end(self) -> None: ...


class Silent:
    """A view that shows nothing."""

    def begin(self, sweep: Sweep, progress: Sequence[Progress], jobs: int) -> None: ...
    def ended(self, progress: Progress) -> None: ...
    def warn(self, text: str) -> None: ...
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
    def is_open(self) -> bool:
        """Whether there is something that a resumed sweep would train."""
        left = (*OPEN, "interrupted", "failed", "broken")
        return any(each.status in left and not each.trial.is_borrowed for each in self.progress)

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


def train(sweep: Sweep, jobs: int, view: View, parts: Parts, data_dir: Path) -> Ended:
    """Train the runs of a sweep that are left, `jobs` at a time, and those that its search draws.

    A run that fails stops no other, and one that another process has is waited for. A signal has those that
    train saved and left where they are; a second one ends them at once. Raises RunFailed where another
    process has the sweep.
    """
    log = sweep.folder / "workers.log"
    with sweep.lock(), Signals() as signals, Workers(jobs, log, parts.folder, data_dir) as workers:
        search = Search(sweep, parts) if "search" in sweep.content else None
        every = [standing(trial, sweep) for trial in sweep.trials]
        by_folder = {each.trial.run.folder: each for each in every}
        waiting = deque(trial.run.folder for trial in sweep.unfinished())
        for folder in waiting:
            by_folder[folder].status = "waiting"
        told, elsewhere = set[Path](), set[Path]()
        if search:
            tell_what_ended(search, every)

        def feed() -> None:
            while workers.is_free and not signals.received:
                if not waiting and search:
                    for trial in search.more():
                        every.append(standing(trial, sweep))
                        by_folder[trial.run.folder] = every[-1]
                        waiting.append(trial.run.folder)
                folder = next((each for each in waiting if not sweep_folder.is_in_use(each)), None)
                if folder is None:
                    if fresh := {*waiting} - elsewhere:
                        view.warn(f"waiting for {comparisons.some(sorted(each.name for each in fresh))}")
                        elsewhere.update(fresh)
                    return
                waiting.remove(folder)
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
            if search:
                tell(search, [each for each in every if each.trial.number == progress.trial.number])

        view.begin(sweep, every, jobs)
        try:
            feed()
            while workers.training or (waiting and not signals.received):
                for word in workers.words(REFRESH):
                    progress = by_folder[word.folder]
                    heard(word, progress, sweep)
                    if word.kind in ("end", "lost"):
                        ended(progress)
                    elif (
                        search
                        and word.rung
                        and word.folder not in told
                        and search.is_hopeless(progress.trial, word.rung, progress.best)
                    ):
                        give_up(progress)
                if signals.received:
                    for folder in {*workers.training} - told:
                        workers.stop(folder)
                        told.add(folder)
                feed()
                view.refresh()
        finally:
            view.end()
    return Ended(sweep, every, signals.received)


def tell(search: Search, of_setting: Sequence[Progress]) -> None:
    """Tell a search how a setting ended, once all its runs have."""
    if any(each.status in (*OPEN, "interrupted") for each in of_setting):
        return
    figures = [each.best for each in of_setting if each.best is not None]
    is_whole = all(each.status in runs.DONE for each in of_setting)
    is_given_up = any(each.status == "given up" for each in of_setting)
    search.ended(of_setting[0].trial.number, figures if is_whole else [], is_given_up=is_given_up)


def tell_what_ended(search: Search, every: Sequence[Progress]) -> None:
    """Tell a search of the settings that ended when nobody was left to tell it."""
    for number in search.study.running():
        if of_setting := [each for each in every if each.trial.number == number]:
            tell(search, of_setting)


def standing(trial: Trial, sweep: Sweep) -> Progress:
    """How a run of a sweep stands by what its folder says."""
    summary = trial.run.summary()
    seen = runs.overview(trial.run, summary)
    [(monitor, figure)] = seen["best"].items() or [("", {"mean": None})]
    planned = summary.get("planned_epochs")
    epochs = planned if isinstance(planned, int) else 0
    done = seen["epochs"].partition("/")[0]
    epoch = int(done) if done.isdecimal() else 0
    status = seen["status"] if summary else "waiting"
    if trial.number is not None and trial.number in sweep.content.get("given_up", ()):
        status = "given up"
    error = summary.get("error")
    if trial.is_borrowed and not trial.run.config.exists():
        status, error = "failed", f"error: {trial.run.folder}, which stood for it, is gone"
    lines = error.splitlines() if isinstance(error, str) else []
    return Progress(trial, status, epoch, epochs, monitor, figure["mean"], lines)


def heard(word: Word, progress: Progress, sweep: Sweep) -> None:
    """Take note of what a worker says of a run."""
    if word.kind in ("begin", "row"):
        progress.epoch, progress.epochs = word.epoch, word.epochs
        progress.monitor, progress.best = word.monitor, word.best
        return
    fresh = standing(progress.trial, sweep)
    progress.epoch, progress.epochs, progress.best = fresh.epoch, fresh.epochs, fresh.best
    progress.status, progress.lines = fresh.status, word.lines
    if word.kind == "lost":
        progress.status = "failed"
        progress.lines = [f"error: its process was killed (exit code {word.exit_code})"]
    elif word.exit_code > 128:  # by a signal, maybe before its first word
        progress.status = "interrupted"
    elif progress.status in ("running", "waiting") or (word.lines and progress.status == "interrupted"):
        progress.status = "failed"  # it did not come to saying so


def conclude(
    sweep: Sweep, metric: str | None, parts: Parts, warn: Callable[[str], None]
) -> Comparison | None:
    """Rank the settings of a sweep, keep the table and draw the picture; None where nothing is finished."""
    given_up = sweep.content.get("given_up", ())
    said = [comparisons.read(trial.run) for trial in sweep.trials if trial.number not in given_up]
    if not any(each.summary.get("status") in (*runs.DONE, "diverged") for each in said):
        return None
    try:
        ranked = comparisons.compare(said, metric or sweep.content.get("metric"), ranked=True, parts=parts)
    except UserError as error:
        warn(error.what)
        return None
    write_atomically(sweep.folder / "results.csv", lambda file: file.write(ranked.csv().encode()))
    pictures.draw_settings(ranked, sweep.name, sweep.plots / "settings.png")
    pictures.draw_curves(ranked, sweep.plots / "curves.png")
    return ranked
