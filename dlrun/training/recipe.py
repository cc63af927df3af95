"""Recipe: the loss, metrics, schedule and batch size of a run as functions and numbers; Row: its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Row = dict[str, list[float]]  # measured column -> one figure for each copy


def only(means: list[float]) -> float:
    return means[0]


@dataclass(frozen=True)
class Metric:
    """A metric over a split: `measure` gives (n,) or (n, k), `finish` reduces their means to one figure."""

    measure: Callable[[Tensor, Tensor], Tensor]
    finish: Callable[[list[float]], float] = only


@dataclass(frozen=True)
class Recipe:
    """Everything that a config says about training, as functions and numbers. Frozen."""

    epochs: int
    batch_size: int | Literal["full"]
    loss: Callable[[Tensor, Tensor], Tensor]  # outputs, targets -> one number per example
    metrics: dict[str, Metric]
    augmentations: Sequence[Callable[[Tensor, torch.Generator], Tensor]]
    schedule: Callable[[float], float]  # progress from 0 to 1 -> multiplier of the learning rate
    evaluation_split: str | None  # measured every evaluate_every epochs
    evaluate_every: int = 1
    evaluate_train_every: int | None = None

    def columns(self) -> list[str]:
        """The names of all columns that training measures, in the order of metrics.csv."""
        splits = ["train", *([self.evaluation_split] if self.evaluation_split else [])]
        splits += ["trainset"] if self.evaluate_train_every else []
        return [f"{split}_{figure}" for split in splits for figure in ("loss", *self.metrics)]
