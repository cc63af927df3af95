"""The loop: `fit` trains and yields a row of measurements per epoch, `evaluate` measures one split."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal

import torch
from torch import Tensor

from dlrun.copies import Apart, each
from dlrun.data import Batches, Loaded, Split, in_order
from dlrun.errors import Diverged
from dlrun.hardware import Hardware, LossScales
from dlrun.randomness import generator

Row = dict[str, list[float]]  # a measured column: one figure for each copy
Watch = Callable[[Iterator[tuple[Tensor, Tensor]]], Iterable[tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class Metric:
    """A figure over a split: the means of `measure` (n,) or (n, k), made into one by `finish`."""

    measure: Callable[[Tensor, Tensor], Tensor]
    finish: Callable[[list[float]], float] = lambda means: means[0]

    def sums(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What is measured of one copy's batch, summed over the examples."""
        wide = torch.float32 if targets.device.type == "mps" else torch.float64
        return self.measure(outputs, targets).sum(0, dtype=wide)


@dataclass(frozen=True)
class Recipe:
    """All that is configured about training, as functions. Frozen."""

    epochs: int
    batch_size: int | Literal["full"]
    loss: Callable[[Tensor, Tensor], Tensor]  # one number per example
    metrics: dict[str, Metric]
    augmentations: Sequence[Callable[[Tensor, torch.Generator], Tensor]]
    schedule: Callable[[float], float]  # progress from 0 to 1 -> multiplier of the learning rate
    evaluation_split: str | None  # measured every evaluate_every epochs
    evaluate_every: int = 1
    evaluate_train_every: int | None = None

    def columns(self) -> list[str]:
        """Every column that training measures, in the order of metrics.csv."""
        splits = ["train", *([self.evaluation_split] if self.evaluation_split else [])]
        splits += ["trainset"] if self.evaluate_train_every else []
        return [f"{split}_{figure}" for split in splits for figure in ("loss", *self.metrics)]


@dataclass
class State:
    """All that changes while training. Its `state_dict` is what a checkpoint keeps of it."""

    model: Apart
    optimizer: torch.optim.Optimizer
    scaler: LossScales | None = None
    epoch: int = 0  # epochs done
    best: dict[str, Any] | None = None  # epoch, value of the monitored column, figures
    rows_end: int = 0  # how far metrics.csv is valid, in bytes
    seconds: float = 0.0  # spent in the loop, over all the calls that trained it

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": [copy.state_dict() for copy in self.model.copies],
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict() if self.scaler else None,
            "epoch": self.epoch,
            "best": self.best,
            "rows_end": self.rows_end,
            "seconds": self.seconds,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        for copy, weights in zip(self.model.copies, saved["model"], strict=True):
            copy.load_state_dict(weights)
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.scaler:
            self.scaler.load_state_dict(saved["scaler"])
        self.epoch, self.best, self.rows_end = saved["epoch"], saved["best"], saved["rows_end"]
        self.seconds = saved["seconds"]


def fit(state: State, data: Loaded, recipe: Recipe, hardware: Hardware, watch: Watch = iter) -> Iterator[Row]:
    """Train for the epochs that are left, yielding the measurements of each: a list over copies.

    At every yield `state` is whole: save it, and a later fit() goes on as if it had never stopped. To
    stop early, leave the loop. Raises Diverged where a loss is not finite: on the CPU before the update,
    on an accelerator, which must not wait for a look at each step, before the row.
    """
    model, optimizer = hardware.prepare(state.model), state.optimizer
    batches = Batches(data["train"], recipe.batch_size, model.seeds, hardware.device)
    steps, split = recipe.epochs * len(batches), recipe.evaluation_split
    for epoch in range(state.epoch + 1, recipe.epochs + 1):  # resume
        model.begin(epoch)
        augment = augmentation(recipe, model.seeds, epoch, hardware.device)
        tally = Tally(recipe, model.seeds, hardware.device, f"epoch {epoch}")
        started = perf_counter()
        for step, (inputs, targets) in enumerate(watch(batches.shuffled(epoch)), (epoch - 1) * len(batches)):
            rate = set_rate(optimizer, recipe.schedule((step + 0.5) / steps))
            with hardware.autocast():
                outputs = model(augment(inputs)).float()
            losses = each(recipe.loss, outputs, targets)  # (copies, batch)
            means = each(torch.mean, losses)
            tally.add(means, outputs.detach(), targets)  # stops here if a loss is no finite number
            hardware.step(means, model, optimizer, state.scaler)
        row = named("train", tally.means())
        seconds = perf_counter() - started

        if split and epoch % recipe.evaluate_every == 0:
            row |= named(split, evaluate(model, data[split], recipe, hardware))
        if recipe.evaluate_train_every and epoch % recipe.evaluate_train_every == 0:
            row |= named("trainset", evaluate(model, data["train"], recipe, hardware))
        state.epoch = epoch
        yield row | {"lr": [rate] * len(model.seeds), "seconds": [seconds] * len(model.seeds)}


def evaluate(model: Apart, split: Split, recipe: Recipe, hardware: Hardware) -> Row:
    """The loss and every metric over a whole split, with the weights as they stand."""
    tally = Tally(recipe, model.seeds, hardware.device)
    for outputs, targets in predictions(model, split, hardware):
        tally.measure(outputs, targets)
    return tally.means()


@torch.no_grad()
def predictions(model: Apart, split: Split, hardware: Hardware) -> Iterator[tuple[Tensor, Tensor]]:
    """Outputs (copies, batch, …) and targets (copies, batch, …) of a split, in its own order."""
    model.eval()
    copies = len(model.seeds)
    for inputs, targets in in_order(split, hardware.device):
        with hardware.autocast():
            outputs = model(inputs.expand(copies, *inputs.shape)).float()
        yield outputs, targets.expand(copies, *targets.shape)


def augmentation(
    recipe: Recipe, seeds: Sequence[int], epoch: int, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """What changes the batches of one epoch, (copies, batch, …): each copy draws from its own stream."""
    if not recipe.augmentations:
        return lambda inputs: inputs
    streams = [generator("augmentation", seed, epoch, device) for seed in seeds]

    def change(inputs: Tensor) -> Tensor:
        changed = []
        for images, stream in zip(inputs, streams, strict=True):
            for augment in recipe.augmentations:
                images = augment(images, stream)
            changed.append(images)
        return torch.stack(changed)

    return change


def set_rate(optimizer: torch.optim.Optimizer, multiplier: float) -> float:
    """Set every learning rate to `multiplier` times what the optimizer began with; gives the first."""
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * multiplier
    return float(optimizer.param_groups[0]["lr"])


def named(split: str, figures: Row) -> Row:
    """The figures as columns of their split, such as test_loss."""
    return {f"{split}_{name}": values for name, values in figures.items()}


@dataclass
class Tally:
    """The loss and metrics over the examples of an epoch or a split, weighing each example alike.

    On the CPU a loss is looked at when it is added, so that training stops before the update. On an
    accelerator, looking would wait for it at each step: figures stay there until `means` reads them.
    """

    recipe: Recipe
    seeds: Sequence[int]
    device: torch.device
    when: str = "evaluation"
    _sizes: list[int] = field(default_factory=list)
    _losses: list[Tensor] = field(default_factory=list)
    _sums: dict[str, Tensor] = field(default_factory=dict)

    def measure(self, outputs: Tensor, targets: Tensor) -> None:
        """One batch of which nothing is learnt: its losses are for the tally alone."""
        self.add(each(torch.mean, each(self.recipe.loss, outputs, targets)), outputs, targets)

    @torch.no_grad()
    def add(self, means: Tensor, outputs: Tensor, targets: Tensor) -> None:
        """One batch: the mean loss of each copy (copies,), outputs and targets (copies, batch, …)."""
        self._sizes.append(targets.shape[1])
        self._losses.append(means.detach())
        if self.device.type == "cpu":
            self._check(means.tolist(), len(self._sizes))
        for name, metric in self.recipe.metrics.items():
            sums = each(metric.sums, outputs, targets)
            before = self._sums.get(name)
            self._sums[name] = sums if before is None else before.add_(sums)

    def means(self) -> Row:
        """The loss and each metric: a list over copies."""
        losses = torch.stack(self._losses).cpu().tolist()  # steps, copies
        if self.device.type != "cpu":
            for step, means in enumerate(losses, 1):
                self._check(means, step)
        total = sum(self._sizes)
        found = {}
        # fsum is exact, so that a copy's figure does not depend on how many others there are.
        found["loss"] = [
            math.fsum(size * mean for size, mean in zip(self._sizes, copy, strict=True)) / total
            for copy in zip(*losses, strict=True)
        ]
        for name, metric in self.recipe.metrics.items():
            sums = self._sums[name].cpu().to(torch.float64) / total
            found[name] = [float(metric.finish(copy.reshape(-1).tolist())) for copy in sums]
        return found

    def _check(self, means: list[float], step: int) -> None:
        for seed, mean in zip(self.seeds, means, strict=True):
            if not math.isfinite(mean):
                raise Diverged(
                    f"the loss of seed {seed} is {mean} at {self.when}, step {step}",
                    fix="lower optimizer.lr, or set gradient_clip",
                )
