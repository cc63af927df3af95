"""Hyperparameter search with Optuna: it proposes the next setting and prunes hopeless ones early."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dlrun.config.keys import FOLD, TEACHER_KEY, WEIGHTS, Config
from dlrun.config.loading import load_config
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.config.strict_yaml import Place
from dlrun.errors import UserError, shortened
from dlrun.run_folders.locating import SWEEP_FILE
from dlrun.run_folders.sweep_folder import BASE, Sweep, Trial, of_each_seed
from dlrun.sweeps.grid import Setting, refuse_other_values, swept_keys, with_share
from dlrun.sweeps.study import Study, load_optuna
from dlrun.sweeps.values import EXAMPLE, MOST_VALUES, SweptKey, override_words, parts_first
from dlrun.system import machine
from dlrun.training.plan_making import make_plan
from dlrun.training.teachers import with_runs_found

_SOURCES = (WEIGHTS, TEACHER_KEY)  # keys at which a run may stand
_MOST_REFUSED = 100  # consecutive draws with an invalid config, after which the search gives up


@dataclass(frozen=True)
class SearchSpace:
    """The space of a search: the keys with their values or ranges, and the base config to set them in."""

    axes: list[SweptKey]
    words: list[str]  # KEY=VALUE arguments in `base`; applied again, for drawing another part drops them
    base: Config

    @property
    def setting(self) -> Setting:
        """The base config as a setting without values."""
        return Setting({}, of_each_seed(self.base))

    def plain(self) -> dict[str, Any]:
        """The space as plain JSON content; the base config is a file of its own."""
        return {"words": self.words, "axes": {axis.key: axis.plain() for axis in self.axes}}


def search_space(
    path: Path,
    given: Sequence[str],
    seeds: Sequence[int] | None,
    parts: Parts,
    runs_dir: Path = Path("runs"),
) -> SearchSpace:
    """The search space of the config at `path`; `given` and `seeds` as for `settings_of_grid`.

    The runs and files of weights and of teachers are found now: what `last` means may be another run at the
    next draw. Raises the errors of `settings_of_grid`, and UserError if Optuna is not installed.
    """

    def with_sources(words: Sequence[str], places: Mapping[str, Place] | None = None) -> Config:
        return with_runs_found(load_config(path, parts_first(words), parts, places), parts, runs_dir)

    load_optuna()
    axes, plain = swept_keys(path, given, seeds, parts)
    if not axes:
        raise UserError("there is nothing to search: no key has several values", fix=EXAMPLE)
    if any(axis.key == FOLD for axis in axes):
        what = f"{FOLD} is no setting to choose: a search would prefer the fold that is easiest"
        raise UserError(
            what, fix=f"set one, such as {FOLD}=0, or compare all folds of a few settings without --optuna"
        )
    base = with_sources(plain)
    for index, axis in enumerate(axes):
        if axis.key in _SOURCES and isinstance(axis.values, list):
            of_each = [[*plain, *override_words({axis.key: value})] for value in axis.values]
            places = {axis.key: axis.place} if axis.place else None
            configs = [with_sources(words, places) for words in of_each]
            if any(config.dataset != base.dataset for config in configs):
                fix = "state dataset.size and dataset.normalise, which are then the same for all"
                raise UserError(f"the values of {WEIGHTS} have images prepared in different ways", fix=fix)
            axes[index] = replace(axis, values=[_source(config, axis.key) for config in configs])
    words = [word for word in plain if not word.startswith("seeds=")]
    for key in _SOURCES:
        if any(word.startswith(f"{key}=") for word in words):
            words += override_words({key: _source(base, key)})
    return SearchSpace(axes, words, base)


def _source(config: Config, key: str) -> object:
    """The run or file that a config has at a key of `_SOURCES`."""
    kind, _, option = key.partition(".")
    return getattr(config, kind).options.get(option)


@dataclass
class Search:
    """A source of runs for a sweep: an Optuna study draws settings, each trained with the config's seeds.

    The sweep's folder holds the study and base.yaml, the config in which the drawn values are set.
    """

    sweep: Sweep
    parts: Parts
    data_dir: Path
    study: Study = field(init=False)
    _count: int = field(init=False)
    _examples: int = field(init=False)  # in the training split
    _words: list[str] = field(init=False)  # as in SearchSpace

    def __post_init__(self) -> None:
        said = self.sweep.content["search"]
        try:
            axes = [SweptKey.of_plain(key, values) for key, values in said["axes"].items()]
            self._words = [str(word) for word in said["words"]]
            self._count, higher = int(said["count"]), bool(said["higher_is_better"])
            self._examples = int(said["examples"])
            if self._count > MOST_VALUES:
                raise ValueError(f"it has at most {MOST_VALUES:,} settings")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            where = str(self.sweep.folder / SWEEP_FILE)
            fix = "restore the file; each run in the folder can also be resumed on its own"
            what = f"this is not a valid search: {shortened(error)}"
            raise UserError(what, where=where, fix=fix) from None
        self.study = Study(self.sweep.folder, axes, higher, seed=len(self.sweep.trials))
        self.sweep.remove_unlisted()
        for number in self.study.running():  # begun by a process that was killed
            of_setting = [trial for trial in self.sweep.trials if trial.number == number]
            if not of_setting:
                self.study.tell(number, [])

    def more(self) -> list[Trial]:
        """The runs of the next setting; none if the search is complete."""
        taken = {trial.number for trial in self.sweep.trials}
        if len(taken) >= self._count:
            return []
        cpus = self.sweep.cpus
        share = cpus or max(1, machine.cores() // self.sweep.jobs)
        for _ in range(_MOST_REFUSED):
            number, values = self.study.draw()
            while number in taken:  # the study was deleted and begins at 0 again
                self.study.tell(number, [])
                number, values = self.study.draw()
            try:
                given = parts_first([*self._words, *override_words(values)])
                config = load_config(self.sweep.folder / BASE, given, self.parts)
                refuse_other_values(config, values)
                config = with_runs_found(config, self.parts, self.sweep.folder.parent)
                plan = make_plan(config, self.parts, self.data_dir)
                of_seeds = of_each_seed(plan.config)
                of_one = make_plan(of_seeds[0], self.parts, self.data_dir)
                threads = of_one.threads(self._examples, cpus + 1 if cpus else None)
            except ConfigError as error:  # values that contradict each other
                refused = error
                self.study.tell(number, [])
                continue
            of_seeds = with_share(of_seeds, threads, share)
            trials = [self.sweep.add(values, each, number) for each in of_seeds]
            self.sweep.write()
            return trials
        raise refused

    def is_hopeless(self, trial: Trial, rung: int, best: float | None) -> bool:
        """True if the setting should be pruned: its first run has the figure `best` after a rung."""
        first = next(each for each in self.sweep.trials if each.number == trial.number)
        if trial.run != first.run or trial.number is None or best is None:
            return False
        return self.study.is_hopeless(trial.number, rung, best)

    def ended(self, number: int | None, figures: list[float], *, is_given_up: bool) -> None:
        """Report that all runs of a setting ended, with the best figure of each; none if one failed."""
        if number is None:
            return
        given_up = self.sweep.content.setdefault("given_up", [])
        if is_given_up and number not in given_up:
            given_up.append(number)
            self.sweep.write()
        self.study.tell(number, figures, is_hopeless=is_given_up)
