"""State: everything that changes while a run trains; its `state_dict` is what a checkpoint stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dlrun.training import fast_paths
from dlrun.training.copies import Copies
from dlrun.training.loss_scales import LossScales


@dataclass
class State:
    """Everything that changes during training: weights, optimizer state, epoch, best epoch.

    `state_dict` is what a checkpoint stores. Random number generators are not in it: their streams follow
    from seed and epoch (dlrun.system.randomness).
    """

    model: Copies
    optimizer: torch.optim.Optimizer
    scaler: LossScales | None = None
    epoch: int = 0  # completed epochs
    best: dict[str, Any] | None = None  # epoch, value of the monitored column, figures
    rows_end: int = 0  # bytes of metrics.csv that belong to this state; later ones are cut off at resume
    seconds: float = 0.0  # training time, summed over the first start and every resume

    @fast_paths.without_compiler()
    def state_dict(self) -> dict[str, Any]:
        return {
            "model": [copy.state_dict() for copy in self.model.copies],
            "optimizer": _without_tensors(self.optimizer.state_dict()),
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
        self.optimizer.load_state_dict(_as_here(saved["optimizer"], self.optimizer))
        if self.scaler:
            self.scaler.load_state_dict(saved["scaler"])
        self.epoch, self.best, self.rows_end = saved["epoch"], saved["best"], saved["rows_end"]
        self.seconds = saved["seconds"]


def _as_here(saved: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The saved state of an optimizer, perhaps from another device, with this optimizer's own settings."""
    how = ("fused", "capturable")
    groups = [
        theirs | {key: ours[key] for key in how if key in ours}
        for theirs, ours in zip(saved["param_groups"], optimizer.param_groups, strict=True)
    ]
    return saved | {"param_groups": groups}


def _without_tensors(saved: dict[str, Any]) -> dict[str, Any]:
    """The state of an optimizer with its learning rates as plain numbers instead of tensors."""
    groups = [
        {key: value.item() if isinstance(value, Tensor) else value for key, value in group.items()}
        for group in saved["param_groups"]
    ]
    return saved | {"param_groups": groups}
