"""Recipe: the loss, metrics, schedule and batch size of a run as functions and numbers; Row: its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dlrun.blocks.tasks import Measure, Metric
from dlrun.data.batches import Sampling
from dlrun.data.examples import EVALUATION_BATCH
from dlrun.training.augmentation import Augment

Row = dict[str, list[float]]  # measured column -> one figure for each copy


@dataclass(frozen=True)
class Recipe:
    """Everything that a config says about training, as functions and numbers. Frozen."""

    epochs: int
    sampling: Sampling
    loss: Measure  # outputs, targets -> one number per example, or w · number and w
    metrics: dict[str, Metric]
    augmentations: Sequence[Augment]
    schedule: Callable[[float], float]  # progress from 0 to 1 -> multiplier of the learning rate
    evaluation_split: str | None  # measured every evaluate_every epochs
    evaluate_every: int = 1
    evaluate_train_every: int | None = None
    evaluation_batch: int = EVALUATION_BATCH  # examples that are evaluated at once

    @property
    def means(self) -> dict[str, Metric]:
        """The metrics that are means over examples."""
        return {name: metric for name, metric in self.metrics.items() if not metric.whole}

    @property
    def whole(self) -> dict[str, Metric]:
        """The metrics of a whole split."""
        return {name: metric for name, metric in self.metrics.items() if metric.whole}

    def columns(self) -> list[str]:
        """The names of all columns that training measures, in the order of metrics.csv."""
        splits = ["train", *([self.evaluation_split] if self.evaluation_split else [])]
        splits += ["trainset"] if self.evaluate_train_every else []
        measured = {split: self.means if split == "train" else self.metrics for split in splits}
        return [f"{split}_{figure}" for split in splits for figure in ("loss", *measured[split])]
