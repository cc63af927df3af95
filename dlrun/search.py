"""A search through settings by Optuna: what was good says what is tried next, the hopeless is given up."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from dlrun.axes import EXAMPLE, MOST_VALUES, Axis, Range, in_order, words
from dlrun.config.keys import Config
from dlrun.config.loading import load_config
from dlrun.config.registry import Parts
from dlrun.errors import ConfigError, UserError, shortened
from dlrun.run_folders.locating import SWEEP_FILE
from dlrun.run_folders.sweep_folder import Sweep, Trial, of_each_seed
from dlrun.settings import Setting, axes_of, with_share
from dlrun.system import machine
from dlrun.system.files import cannot_write
from dlrun.training.plan import make_plan

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

JOURNAL = "study.log"
BASE = "base.yaml"
_NAME = "sweep"
_MOST_REFUSED = 100  # settings drawn one after another whose values do not go together


@dataclass(frozen=True)
class Space:
    """What a search draws from: the keys with their values or ranges, and the config that they are set in."""

    axes: list[Axis]
    words: list[str]  # KEY=VALUE, that stand in the config and that a part of another name would drop
    base: Config

    @property
    def setting(self) -> Setting:
        """The config as a setting without any values."""
        return Setting({}, of_each_seed(self.base))

    def plain(self) -> dict[str, Any]:
        """As JSON holds it; the config is kept beside it."""
        return {"words": self.words, "axes": {axis.key: axis.plain() for axis in self.axes}}


def space(path: Path, given: Sequence[str], seeds: Sequence[int] | None, parts: Parts) -> Space:
    """What a search of the config at `path` draws from; `given` and `seeds` as for `settings`.

    Raises as `settings` does, and UserError where Optuna is not installed.
    """
    load_optuna()
    axes, plain = axes_of(path, given, seeds, parts)
    if not axes:
        raise UserError("there is nothing to search: no key has several values", fix=EXAMPLE)
    words = [word for word in plain if not word.startswith("seeds=")]
    return Space(axes, words, load_config(path, in_order(plain), parts))


@dataclass
class Search:
    """Where the runs of a sweep come from: a study draws settings, each trained with the seeds of a config.

    The sweep's folder holds the study, and base.yaml, the config that values are set in.
    """

    sweep: Sweep
    parts: Parts
    data_dir: Path
    study: Study = field(init=False)
    _count: int = field(init=False)
    _examples: int = field(init=False)  # that are trained on
    _words: list[str] = field(init=False)  # that are in base.yaml, and that a part of another name would drop

    def __post_init__(self) -> None:
        said = self.sweep.content["search"]
        try:
            axes = [Axis.of_plain(key, values) for key, values in said["axes"].items()]
            self._words = [str(word) for word in said["words"]]
            self._count, higher = int(said["count"]), bool(said["higher_is_better"])
            self._examples = int(said["examples"])
            if self._count > MOST_VALUES:
                raise ValueError(f"it has at most {MOST_VALUES:,} settings")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            where = str(self.sweep.folder / SWEEP_FILE)
            fix = "put the file back as it was; each run in the folder can be resumed by itself"
            what = f"this is no search as dlrun writes it: {shortened(error)}"
            raise UserError(what, where=where, fix=fix) from None
        self.study = Study(self.sweep.folder, axes, higher, seed=len(self.sweep.trials))
        self.sweep.remove_unlisted()
        for number in self.study.running():  # of a process that is gone
            of_setting = [trial for trial in self.sweep.trials if trial.number == number]
            if not of_setting:
                self.study.tell(number, [])

    def more(self) -> list[Trial]:
        """The runs of the next setting; none where there were enough."""
        taken = {trial.number for trial in self.sweep.trials}
        if len(taken) >= self._count:
            return []
        for _ in range(_MOST_REFUSED):
            number, values = self.study.draw()
            while number in taken:  # the study is a new one
                self.study.tell(number, [])
                number, values = self.study.draw()
            try:
                given = in_order([*self._words, *words(values)])
                config = load_config(self.sweep.folder / BASE, given, self.parts)
                of_seeds = of_each_seed(config)
                threads = make_plan(of_seeds[0], self.parts, self.data_dir).threads(self._examples)
            except ConfigError as error:  # values that do not go together
                refused = error
                self.study.tell(number, [])
                continue
            of_seeds = with_share(of_seeds, threads, max(1, machine.cores() // self.sweep.jobs))
            trials = [self.sweep.add(values, each, number) for each in of_seeds]
            self.sweep.write()
            return trials
        raise refused

    def is_hopeless(self, trial: Trial, rung: int, best: float | None) -> bool:
        """Whether a setting need not go on, of which the first run has this best figure after a rung."""
        first = next(each for each in self.sweep.trials if each.number == trial.number)
        if trial.run != first.run or trial.number is None or best is None:
            return False
        return self.study.is_hopeless(trial.number, rung, best)

    def ended(self, number: int | None, figures: list[float], *, is_given_up: bool) -> None:
        """All runs of a setting have ended: the best figure of each, none where one of them failed."""
        if number is None:
            return
        given_up = self.sweep.content.setdefault("given_up", [])
        if is_given_up and number not in given_up:
            given_up.append(number)
            self.sweep.write()
        self.study.tell(number, figures, is_hopeless=is_given_up)


@dataclass
class Study:
    """A study of Optuna in a folder: of each trial the values, what it reached and how it ended.

    The tree-structured Parzen estimator (Bergstra et al., 2011) draws settings. One whose first seed is worse
    after some tenths of its epochs than the median of five others or more was after as many is given up
    (Golovin et al., 2017), unless another process began it.
    """

    folder: Path
    axes: Sequence[Axis]
    higher_is_better: bool
    seed: int  # of what is drawn from here on
    _study: optuna.Study = field(init=False)
    _open: dict[int, optuna.Trial] = field(default_factory=dict)  # those that train now, by their number

    def __post_init__(self) -> None:
        optuna = load_optuna()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path = self.folder / JOURNAL
        _mend(path)
        try:
            self._study = optuna.create_study(
                storage=optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path))),
                study_name=_NAME,
                load_if_exists=True,
                direction="maximize" if self.higher_is_better else "minimize",
                sampler=optuna.samplers.TPESampler(seed=self.seed, constant_liar=True),
                pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_min_trials=5),
            )
        except Exception as error:  # Optuna reads what anybody may have written, and checks little of it
            fix = "put the file back as it was, or take it away: the search then forgets what was good"
            what = f"the study cannot be read: {shortened(error)}"
            raise UserError(what, where=str(path), fix=fix) from error

    def running(self) -> list[int]:
        """The numbers of the trials that have begun and were never told how they ended."""
        return [t.number for t in self._study.trials if not t.state.is_finished()]

    def draw(self) -> tuple[int, dict[str, Any]]:
        """The number and the values of the next trial."""
        trial = self._study.ask({axis.key: _distribution(axis) for axis in self.axes})
        self._open[trial.number] = trial
        return trial.number, {axis.key: _value(axis, trial.params[axis.key]) for axis in self.axes}

    def is_hopeless(self, number: int, rung: int, monitored: float) -> bool:
        """Whether a trial need not go on, whose first seed has this figure after a rung."""
        trial = self._open.get(number)
        if trial is None or not math.isfinite(monitored):
            return False
        trial.report(monitored, rung)
        return bool(trial.should_prune())

    def tell(self, number: int, figures: Sequence[float], *, is_hopeless: bool = False) -> None:
        """How a trial ended: the best monitored figure of each seed; none where it failed."""
        state = load_optuna().trial.TrialState
        if is_hopeless:
            self._study.tell(number, state=state.PRUNED)
        elif figures:
            self._study.tell(number, fmean(figures))
        else:
            self._study.tell(number, state=state.FAIL)
        self._open.pop(number, None)


def _mend(journal: Path) -> None:
    """Take away what a process that was killed left of the journal: its lock, and a last line not whole.

    The sweep's own lock has to be held: nobody else writes then. Raises RunFailed where the disk refuses.
    """
    try:
        journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)
        if journal.exists():
            raw = journal.read_bytes()
            whole = raw.rfind(b"\n") + 1
            if whole < len(raw):
                os.truncate(journal, whole)
    except OSError as error:
        raise cannot_write(journal, error) from None


def _distribution(axis: Axis) -> BaseDistribution:
    """What a key's values are to Optuna: a range, whole numbers in a row, or a choice among texts."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(axis.values, Range):
        low, high = sorted((axis.values.low, axis.values.high))
        if axis.values.is_whole:
            return IntDistribution(math.ceil(low), math.floor(high), log=axis.values.is_log)
        return FloatDistribution(low, high, log=axis.values.is_log)
    if axis.is_row:
        return IntDistribution(min(axis.values), max(axis.values))
    return CategoricalDistribution([json.dumps(value) for value in axis.values])


def _value(axis: Axis, drawn: Any) -> Any:
    """The value that Optuna drew."""
    if isinstance(axis.values, Range):
        return axis.values.tidy(drawn)
    return drawn if axis.is_row else json.loads(drawn)


def load_optuna() -> Any:
    """Optuna. Raises UserError where it is not installed."""
    try:
        import optuna
    except ImportError:
        raise UserError(
            "this needs Optuna, which is not installed", fix="pip install 'dlrun[optuna]'"
        ) from None
    return optuna
