"""State: everything that changes while a run trains; its `state_dict` is what a checkpoint stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dlrun.training import fast_paths
from dlrun.training.copies import Copies
from dlrun.training.loss_scales import LossScales
from dlrun.training.optimizers import Optimizers


@dataclass
class State:
    """Everything that changes during training: weights, optimizer state, epoch, best epoch.

    `state_dict` is what a checkpoint stores. Random number generators are not in it: their streams follow
    from seed and epoch (dlrun.system.randomness).
    """

    model: Copies
    optimizers: Optimizers
    scaler: LossScales | None = None
    epoch: int = 0  # completed epochs
    best: dict[str, Any] | None = None  # epoch, value of the monitored column, figures
    rows_end: int = 0  # bytes of metrics.csv that belong to this state; later ones are cut off at resume
    seconds: float = 0.0  # training time, summed over the first start and every resume

    @fast_paths.without_compiler()
    def state_dict(self) -> dict[str, Any]:
        return {
            "model": [copy.state_dict() for copy in self.model.copies],
            "optimizer": self.optimizers.state_dict(),
            "scaler": self.scaler.state_dict() if self.scaler else None,
            "epoch": self.epoch,
            "best": self.best,
            "rows_end": self.rows_end,
            "seconds": self.seconds,
        }

    @fast_paths.without_compiler()
    def load_state_dict(self, saved: dict[str, Any]) -> None:
        for copy, weights in zip(self.model.copies, saved["model"], strict=True):
            copy.load_state_dict(weights)
        self.optimizers.load_state_dict(saved["optimizer"])
        if self.scaler:
            self.scaler.load_state_dict(saved["scaler"])
        self.epoch, self.best, self.rows_end = saved["epoch"], saved["best"], saved["rows_end"]
        self.seconds = saved["seconds"]
