"""Recipe: the loss, metrics, schedule and batch size of a run as functions and numbers; Row: its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dlrun.blocks.tasks import Measure, Metric
from dlrun.config.keys import AVERAGED
from dlrun.data.batches import Sampling
from dlrun.data.examples import EVALUATION_BATCH
from dlrun.data.trees import Tree
from dlrun.training.augmentation import Augment
from dlrun.training.averaging import Averaging
from dlrun.training.freezing import Freezing

Row = dict[str, list[float]]  # measured column -> one figure for each copy


@dataclass(frozen=True)
class Schedule:
    """The learning rate over a run: a function of progress, and maybe of the monitored figures so far."""

    function: Callable[..., float]  # progress from 0 to 1[, figures] -> multiplier
    follows_figures: bool = False
    is_higher_better: bool = False

    def multipliers(self, progress: float, histories: Sequence[Sequence[float]]) -> list[float]:
        """The multiplier of the learning rate of each copy, from its monitored figures so far."""
        if not self.follows_figures:
            return [self.function(progress)] * len(histories)
        sign = -1 if self.is_higher_better else 1
        return [self.function(progress, [sign * figure for figure in own]) for own in histories]


@dataclass(frozen=True)
class Recipe:
    """Everything that a config says about training, as functions and numbers. Frozen."""

    epochs: int
    sampling: Sampling
    loss: Measure  # outputs and what is `judged` -> one number per example, or w · number and w
    metrics: dict[str, Metric]
    augmentations: Sequence[Augment]
    schedule: Schedule
    evaluation_split: str | None  # measured every evaluate_every epochs
    evaluate_every: int = 1
    evaluate_train_every: int | None = None
    evaluation_batch: int = EVALUATION_BATCH  # examples that are evaluated at once
    micro_batch: int | None = None  # examples of a batch that are computed at once; None: all
    freezing: Freezing = Freezing()
    averaging: Averaging = Averaging()
    loss_takes_inputs: bool = False
    is_evaluated_shuffled: bool = False  # in a fixed random order instead of that of the split

    def changes_after(self, epoch: int) -> bool:
        """True if the steps of the next epoch are others: more weights learn, or an augmentation is off."""
        ends = {self.epochs - change.off_epochs for change in self.augmentations if change.off_epochs}
        return epoch in ends or self.freezing.ends_after(epoch)

    def judged(self, targets: Tree, inputs: Tree) -> tuple[Tree, ...]:
        """The arguments of the loss beside the outputs: the targets, and the inputs if it takes them."""
        return (targets, inputs) if self.loss_takes_inputs else (targets,)

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
        endings = ("", AVERAGED) if self.averaging.share else ("",)
        evaluated = [self.evaluation_split, "trainset" if self.evaluate_train_every else None]
        columns = [f"train_{figure}" for figure in ("loss", *self.means)]
        for split in filter(None, evaluated):
            columns += [f"{split}_{figure}{end}" for end in endings for figure in ("loss", *self.metrics)]
        return columns

    def evaluated_after(self, epoch: int) -> Iterator[str]:
        """Yield the splits that are evaluated after an epoch, as columns call them."""
        if self.evaluation_split and epoch % self.evaluate_every == 0:
            yield self.evaluation_split
        if self.evaluate_train_every and epoch % self.evaluate_train_every == 0:
            yield "trainset"
