"""All that changes while a run trains, and what a checkpoint keeps of it."""

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
    """All that changes while training. Its `state_dict` is what a checkpoint keeps of it."""

    model: Copies
    optimizer: torch.optim.Optimizer
    scaler: LossScales | None = None
    epoch: int = 0  # epochs done
    best: dict[str, Any] | None = None  # epoch, value of the monitored column, figures
    rows_end: int = 0  # how far metrics.csv is valid, in bytes
    seconds: float = 0.0  # spent in the loop, over all the calls that trained it

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
    """The state of an optimizer, maybe from another device, run as the one here is."""
    how = ("fused", "capturable")
    groups = [
        theirs | {key: ours[key] for key in how if key in ours}
        for theirs, ours in zip(saved["param_groups"], optimizer.param_groups, strict=True)
    ]
    return saved | {"param_groups": groups}


def _without_tensors(saved: dict[str, Any]) -> dict[str, Any]:
    """The state of an optimizer with its learning rates as numbers, whatever it holds them as."""
    groups = [
        {key: value.item() if isinstance(value, Tensor) else value for key, value in group.items()}
        for group in saved["param_groups"]
    ]
    return saved | {"param_groups": groups}
