"""The Optuna study of a search: which settings were drawn, and which figures they reached."""

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
    """An Optuna study in a folder: each trial's values, its result and how it ended.

    The tree-structured Parzen estimator (Bergstra et al., 2011) draws settings. The median rule (Golovin et
    al., 2017) prunes one whose first seed, after some tenths of its epochs, is worse than the median of at
    least five others at that point; a trial begun by another process is never pruned.
    """

    folder: Path
    axes: Sequence[SweptKey]
    higher_is_better: bool
    seed: int  # of the draws from here on
    _study: optuna.Study = field(init=False)
    _open: dict[int, optuna.Trial] = field(default_factory=dict)  # number -> trial in training

    def __post_init__(self) -> None:
        optuna = load_optuna()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path = self.folder / JOURNAL
        _mend(path)
        journal = optuna.storages.journal
        # Its other lock is a symbolic link, which few users of Windows may make.
        backend = journal.JournalFileBackend(str(path), journal.JournalFileOpenLock(str(path)))
        try:
            self._study = optuna.create_study(
                storage=optuna.storages.JournalStorage(backend),
                study_name=_NAME,
                load_if_exists=True,
                direction="maximize" if self.higher_is_better else "minimize",
                sampler=optuna.samplers.TPESampler(seed=self.seed, constant_liar=True),
                pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_min_trials=5),
            )
        except Exception as error:  # Optuna hardly validates its journal, so anything may be raised
            fix = "restore the file, or delete it: the search then forgets its results"
            what = f"the study cannot be read: {shortened(error)}"
            raise UserError(what, where=str(path), fix=fix) from error

    def running(self) -> list[int]:
        """The numbers of the trials that began and have no recorded end."""
        return [t.number for t in self._study.trials if not t.state.is_finished()]

    def draw(self) -> tuple[int, dict[str, Any]]:
        """Draw the next trial: its number and its values."""
        trial = self._study.ask({axis.key: _distribution(axis) for axis in self.axes})
        self._open[trial.number] = trial
        return trial.number, {axis.key: _value(axis, trial.params[axis.key]) for axis in self.axes}

    def is_hopeless(self, number: int, rung: int, monitored: float) -> bool:
        """True if a trial should be pruned whose first seed has this figure after a rung."""
        trial = self._open.get(number)
        if trial is None or not math.isfinite(monitored):
            return False
        trial.report(monitored, rung)
        return bool(trial.should_prune())

    def tell(self, number: int, figures: Sequence[float], *, is_hopeless: bool = False) -> None:
        """Record how a trial ended: the best monitored figure of each seed; none if it failed."""
        state = load_optuna().trial.TrialState
        if is_hopeless:
            self._study.tell(number, state=state.PRUNED)
        elif figures:
            self._study.tell(number, fmean(figures))
        else:
            self._study.tell(number, state=state.FAIL)
        self._open.pop(number, None)


def _mend(journal: Path) -> None:
    """Repair the journal of a killed process: remove its lock and an incomplete last line.

    Requires the sweep's lock, so that nobody else writes. Raises RunFailed if the disk refuses.
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
    """A key's values as an Optuna distribution: float, int (consecutive numbers) or categorical."""
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
    """Convert Optuna's drawn value back to the key's value."""
    if isinstance(axis.values, Range):
        return axis.values.tidy(drawn)
    return drawn if axis.is_row else json.loads(drawn)


def load_optuna() -> Any:
    """Import Optuna. Raises UserError if it is not installed."""
    try:
        import optuna
    except ImportError:
        raise UserError(
            "this needs Optuna, which is not installed", fix="pip install 'dlrun[optuna]'"
        ) from None
    return optuna
