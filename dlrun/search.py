"""A search through settings by Optuna: what was good says what is tried next, the hopeless is given up."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from dlrun.axes import Axis, Range
from dlrun.errors import UserError

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution

JOURNAL = "study.log"
_NAME = "sweep"


@dataclass
class Search:
    """A study in the folder of a sweep: of each trial the values, what it reached and how it ended.

    The tree-structured Parzen estimator (Bergstra et al., 2011) draws settings; one whose first seed is worse
    than the median of the others at the same epoch is given up (Golovin et al., 2017).
    """

    folder: Path
    axes: Sequence[Axis]
    higher_is_better: bool
    seed: int  # of what is drawn from here on
    _study: Study = field(init=False)
    _open: dict[int, Trial] = field(default_factory=dict)  # those that train now, by their number

    def __post_init__(self) -> None:
        optuna = _optuna()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(self.folder / JOURNAL))
        )
        self._study = optuna.create_study(
            storage=storage,
            study_name=_NAME,
            load_if_exists=True,
            direction="maximize" if self.higher_is_better else "minimize",
            sampler=optuna.samplers.TPESampler(seed=self.seed, constant_liar=True),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
        )

    def running(self) -> list[int]:
        """The numbers of the trials that have begun and were never told how they ended."""
        return [t.number for t in self._study.trials if not t.state.is_finished()]

    def draw(self) -> tuple[int, dict[str, Any]]:
        """The number and the values of the next trial."""
        trial = self._study.ask({axis.key: _distribution(axis) for axis in self.axes})
        self._open[trial.number] = trial
        return trial.number, {axis.key: _value(axis, trial.params[axis.key]) for axis in self.axes}

    def is_hopeless(self, number: int, epoch: int, monitored: float) -> bool:
        """Whether a trial need not go on, whose first seed has this figure after an epoch."""
        trial = self._open.get(number)
        if trial is None or not math.isfinite(monitored):
            return False
        trial.report(monitored, epoch)
        return bool(trial.should_prune())

    def tell(self, number: int, figures: Sequence[float], *, is_hopeless: bool = False) -> None:
        """How a trial ended: the best monitored figure of each seed; none where it failed."""
        state = _optuna().trial.TrialState
        if is_hopeless:
            self._study.tell(number, state=state.PRUNED)
        elif figures:
            self._study.tell(number, fmean(figures))
        else:
            self._study.tell(number, state=state.FAIL)
        self._open.pop(number, None)


def _distribution(axis: Axis) -> BaseDistribution:
    """What a key's values are to Optuna: a range, or a choice among texts."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if isinstance(axis.values, Range):
        low, high = sorted((axis.values.low, axis.values.high))
        return FloatDistribution(low, high, log=axis.values.is_log)
    return CategoricalDistribution([json.dumps(value) for value in axis.values])


def _value(axis: Axis, drawn: Any) -> Any:
    """The value that Optuna drew."""
    return float(drawn) if isinstance(axis.values, Range) else json.loads(drawn)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise UserError(
            "this needs Optuna, which is not installed", fix="pip install 'dlrun[optuna]'"
        ) from None
    return optuna
