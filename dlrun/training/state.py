"""State: everything that changes while a run trains; its `state_dict` is what a checkpoint stores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dlrun.training import fast_paths
from dlrun.training.averaging import AVERAGE, AveragedWeights
from dlrun.training.best import Advance, Best, advances_of, bests_of
from dlrun.training.copies import Copies, Stacked, some_of, weights_of, whole_of
from dlrun.training.loss_scales import LossScales
from dlrun.training.optimizers import Optimizers, narrowed, widened
from dlrun.training.within_epoch import WithinEpoch


@dataclass
class State:
    """Everything that changes during training: weights, optimizer state, epoch, each seed's best epoch.

    `model` holds all copies, `training` those that have not stopped early. `state_dict` is what a checkpoint
    stores. Random number generators are not in it: their streams follow from seed and epoch
    (dlrun.system.randomness).
    """

    model: Copies
    optimizers: Optimizers
    scaler: LossScales | None = None
    average: AveragedWeights | None = None
    epoch: int = 0  # completed epochs
    best: list[Best | None] = field(default_factory=list)  # of each copy
    stopped: list[int | None] = field(default_factory=list)  # the epoch after which a copy stopped early
    advance: list[Advance | None] = field(default_factory=list)  # of each copy, that patience counts from
    history: list[list[float]] = field(default_factory=list)  # monitored figures, if a rate follows them
    is_judged_together: bool = False  # the mean over seeds is judged, as in runs of an earlier dlrun
    evaluation_sizes: list[int | str] = field(default_factory=list)  # earlier ones, too large for the memory
    rows_end: int = 0  # bytes of metrics.csv that belong to this state; later ones are cut off at resume
    last_rows: str = ""  # rows of metrics.csv that follow those, without figures that were added at the end
    best_epochs: list[tuple[int, float]] = field(default_factory=list)  # the best ones, for `keep`
    seconds: float = 0.0  # training time, summed over the first start and every resume
    within: WithinEpoch | None = None  # of the epoch that is being trained
    steps_before: dict[str, Any] | None = None  # steps after the last epoch that a checkpoint has

    def __post_init__(self) -> None:
        self.training: Copies = self.model
        self.best = self.best or [None] * len(self.model.seeds)
        self.stopped = self.stopped or [None] * len(self.model.seeds)
        self.advance = self.advance or [None] * len(self.model.seeds)
        self.history = self.history or [[] for _ in self.model.seeds]
        self._narrowed_to = list(range(len(self.model.seeds)))  # the copies in `training`

    @property
    def active(self) -> list[int]:
        """The indices of the copies that have not stopped early."""
        return [index for index, epoch in enumerate(self.stopped) if epoch is None]

    @property
    def histories(self) -> list[list[float]]:
        """The monitored figures so far of each copy in `training`."""
        return [self.history[index] for index in self._narrowed_to]

    @property
    def has_new_stops(self) -> bool:
        """True if a copy in `training` has stopped early."""
        return self.active != self._narrowed_to

    @property
    def step(self) -> int:
        """The steps of the next epoch that are done."""
        return self.within.step if self.within else (self.steps_before or {}).get("step", 0)

    def enter(self, within: WithinEpoch) -> WithinEpoch:
        """Enter the next epoch, after those steps of it that a checkpoint has."""
        if self.steps_before:
            within.go_on(self.steps_before)
            self.steps_before = None
        self.within = within
        return within

    def leave(self, epoch: int) -> None:
        """Note that an epoch is complete."""
        self.epoch, self.within = epoch, None

    def leave_out_stopped(self, make: Callable[[Copies], Optimizers]) -> None:
        """Leave copies that have stopped early out of `training`; `make` makes the optimizers of a model."""
        active = self.active
        if not self.has_new_stops or not active:
            return
        self.training = some_of(self.model, active)
        if isinstance(self.model, Stacked):
            places = [self._narrowed_to.index(index) for index in active]
            saved = narrowed(self.optimizers.state_dict(), len(self._narrowed_to), places)
            self.optimizers = make(self.training)
            self.optimizers.load_state_dict(saved)
        else:
            self.optimizers.update_only(list(self.training.parameters()))
        if self.average:
            self.average.leave_out_stopped(active, self.training)
        if self.scaler:
            self.scaler.active = active
        self._narrowed_to = active

    @property
    def averaged(self) -> Copies | None:
        """The copies in `training` with averaged weights, or `training` itself while those are the same."""
        if self.average is None:
            return None
        return self.training if self.average.are_latest else self.average.training

    def whole_models(self) -> tuple[Copies, Copies | None]:
        """The model of all copies as they stand, to be evaluated, and the one with averaged weights."""
        trained = whole_of(self.model, self.training)
        return trained, self.average.whole_model() if self.average else None

    @property
    def kept(self) -> dict[str, Copies]:
        """All models that a checkpoint holds, by their entries in it."""
        return {"model": self.model} | ({AVERAGE: self.average.model} if self.average else {})

    @fast_paths.without_compiler()
    def state_dict(self) -> dict[str, Any]:
        optimizer = self.optimizers.state_dict()
        if self.training is not self.model and isinstance(self.model, Stacked):
            optimizer = widened(optimizer, len(self.model.seeds), self._narrowed_to)
        return {
            **{entry: weights_of(model) for entry, model in self.kept.items()},
            "optimizer": optimizer,
            "scaler": self.scaler.state_dict() if self.scaler else None,
            "epoch": self.epoch,
            "best": [best.plain() if best else None for best in self.best],
            "stopped": list(self.stopped),
            "advance": [tuple(own) if own else None for own in self.advance],
            "history": [list(own) for own in self.history],
            "is_judged_together": self.is_judged_together,
            "evaluation_sizes": list(self.evaluation_sizes),
            **({"best_epochs": list(self.best_epochs)} if self.best_epochs else {}),
            "rows_end": self.rows_end,
            "last_rows": self.last_rows,
            "seconds": self.seconds,
        }

    @fast_paths.without_compiler()
    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Load a state into one from which nothing has been trained yet."""
        for entry, model in self.kept.items():
            for copy, weights in zip(model.copies, saved[entry], strict=True):
                copy.load_state_dict(weights)
        self.optimizers.load_state_dict(saved["optimizer"])
        if self.scaler:
            self.scaler.load_state_dict(saved["scaler"])
        self.epoch, self.rows_end, self.seconds = saved["epoch"], saved["rows_end"], saved["seconds"]
        self.last_rows = saved.get("last_rows", "")
        self.best = bests_of(saved, len(self.model.seeds))
        self.stopped = list(saved.get("stopped") or [None] * len(self.best))
        self.advance = advances_of(saved, self.best)
        self.history = [list(own) for own in saved.get("history") or [[] for _ in self.best]]
        self.is_judged_together = saved.get("is_judged_together", True)
        self.evaluation_sizes = list(saved.get("evaluation_sizes", []))
        self.best_epochs = [(epoch, value) for epoch, value in saved.get("best_epochs", ())]
        self.steps_before = saved.get("within")
