"""What Optuna knows of a search: what was drawn, and what it reached."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from dlrun.errors import UserError, shortened
from dlrun.sweeps.values import Range, SweptKey
from dlrun.system.files import cannot_write

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution


JOURNAL = "study.log"
_NAME = "sweep"


@dataclass
class Study:
    """A study of Optuna in a folder: of each trial the values, what it reached and how it ended.

    The tree-structured Parzen estimator (Bergstra et al., 2011) draws settings. One whose first seed is worse
    after some tenths of its epochs than the median of five others or more was after as many is given up
    (Golovin et al., 2017), unless another process began it.
    """

    folder: Path
    axes: Sequence[SweptKey]
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


def _distribution(axis: SweptKey) -> BaseDistribution:
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


def _value(axis: SweptKey, drawn: Any) -> Any:
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
