"""The loop: `fit` trains and yields a row of measurements per epoch, `evaluate` measures one split."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal

import torch
from torch import Tensor

from dlrun import bare
from dlrun.copies import Copies, Figures, as_tensor
from dlrun.data.batches import Batches, in_order, steps
from dlrun.data.examples import EVALUATION_BATCH, Split
from dlrun.data.loaded import Loaded
from dlrun.errors import Diverged
from dlrun.hardware import Hardware, LossScales
from dlrun.system.randomness import derived_seed

Batch = tuple[Tensor, ...]  # of which Batches.examples makes inputs and targets; (copies, batch, …) each
Row = dict[str, list[float]]  # a measured column: one figure for each copy
Watch = Callable[[Iterator[Batch]], Iterable[Batch]]


def _only(means: list[float]) -> float:
    return means[0]


@dataclass(frozen=True)
class Metric:
    """A figure over a split: the means of `measure` (n,) or (n, k), made into one by `finish`."""

    measure: Callable[[Tensor, Tensor], Tensor]
    finish: Callable[[list[float]], float] = _only


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

    model: Copies
    optimizer: torch.optim.Optimizer
    scaler: LossScales | None = None
    epoch: int = 0  # epochs done
    best: dict[str, Any] | None = None  # epoch, value of the monitored column, figures
    rows_end: int = 0  # how far metrics.csv is valid, in bytes
    seconds: float = 0.0  # spent in the loop, over all the calls that trained it

    @bare.without_compiler()
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

    @bare.without_compiler()
    def load_state_dict(self, saved: dict[str, Any]) -> None:
        for copy, weights in zip(self.model.copies, saved["model"], strict=True):
            copy.load_state_dict(weights)
        self.optimizer.load_state_dict(_as_here(saved["optimizer"], self.optimizer))
        if self.scaler:
            self.scaler.load_state_dict(saved["scaler"])
        self.epoch, self.best, self.rows_end = saved["epoch"], saved["best"], saved["rows_end"]
        self.seconds = saved["seconds"]


def fit(state: State, data: Loaded, recipe: Recipe, hardware: Hardware, watch: Watch = iter) -> Iterator[Row]:
    """Train for the epochs that are left, yielding the measurements of each: a list over copies.

    At every yield `state` is whole: save it, and a later fit() goes on as if it had never stopped. To
    stop early, leave the loop. Raises Diverged where a loss is not finite: on the CPU before the update, on
    an accelerator, which must not wait for a look at each step, before the row (see Tally).
    """
    model, optimizer = hardware.prepare(state.model), state.optimizer
    batches = Batches(data["train"], recipe.batch_size, model.seeds, hardware.device)
    augment = Augmentation(recipe, model.seeds, hardware.device)
    tally = Tally(recipe, model, len(data["train"]), hardware.device, batch=batches.size)
    planned, split = recipe.epochs * len(batches), recipe.evaluation_split  # steps in all

    def update(*batch: Tensor) -> None:
        inputs, targets = batches.examples(*batch)
        with hardware.autocast():
            outputs = model(augment(inputs))
        losses = model.each(recipe.loss, outputs, targets)  # (copies, batch)
        tally.add(losses, outputs, targets)  # stops here if a loss is no finite number
        hardware.step(losses, model, optimizer, state.scaler, tally.lost)

    update_once = hardware.repeated(update, model, optimizer, augment.streams)
    for epoch in range(state.epoch + 1, recipe.epochs + 1):  # resume
        model.begin(epoch)
        augment.begin(epoch)
        tally.begin(f"epoch {epoch}")
        started = perf_counter()
        for step, batch in enumerate(watch(batches.shuffled(epoch)), (epoch - 1) * len(batches)):
            rate = set_rate(optimizer, recipe.schedule((step + 0.5) / planned))
            update_once(*batch)
        row = named("train", tally.means())
        seconds = perf_counter() - started

        if split and epoch % recipe.evaluate_every == 0:
            row |= named(split, evaluate(model, data[split], recipe, hardware))
        if recipe.evaluate_train_every and epoch % recipe.evaluate_train_every == 0:
            row |= named("trainset", evaluate(model, data["train"], recipe, hardware))
        state.epoch = epoch
        yield row | {"lr": [rate] * len(model.seeds), "seconds": [seconds] * len(model.seeds)}


def evaluate(model: Copies, split: Split, recipe: Recipe, hardware: Hardware) -> Row:
    """The loss and every metric over a whole split, with the weights as they stand."""
    tally = Tally(recipe, model, len(split), hardware.device)
    for outputs, targets in predictions(model, split, hardware):
        tally.measure(outputs, targets)
    return tally.means()


@torch.no_grad()
def predictions(model: Copies, split: Split, hardware: Hardware) -> Iterator[tuple[Tensor, Tensor]]:
    """Outputs (copies, batch, …) and targets (copies, batch, …) of a split, in its own order."""
    model.eval()
    copies = len(model.seeds)
    for inputs, targets in in_order(split, hardware.device):
        with hardware.autocast():
            outputs = model(inputs.expand(copies, *inputs.shape))
        yield as_tensor(outputs), targets.expand(copies, *targets.shape)


class Augmentation:
    """What changes the batches (copies, batch, …) of training: each copy draws from its own stream."""

    def __init__(self, recipe: Recipe, seeds: Sequence[int], device: torch.device) -> None:
        self.changes, self.seeds = recipe.augmentations, seeds
        self.streams = [torch.Generator(device) for _ in seeds] if self.changes else []

    def begin(self, epoch: int) -> None:
        """Every stream at its start of the epoch."""
        for seed, stream in zip(self.seeds, self.streams, strict=False):
            stream.manual_seed(derived_seed("augmentation", seed, epoch))

    def __call__(self, inputs: Tensor) -> Tensor:
        if not self.changes:
            return inputs
        changed = []
        for images, stream in zip(inputs, self.streams, strict=True):
            for augment in self.changes:
                images = augment(images, stream)
            changed.append(images)
        return torch.stack(changed)


def set_rate(optimizer: torch.optim.Optimizer, multiplier: float) -> float:
    """Set every learning rate to `multiplier` times what the optimizer began with; gives the first."""
    for group in optimizer.param_groups:
        rate = group.setdefault("initial_lr", float(group["lr"])) * multiplier
        if isinstance(group["lr"], Tensor):  # a graph reads it where it is
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
    return float(optimizer.param_groups[0]["initial_lr"] * multiplier)


def named(split: str, figures: Row) -> Row:
    """The figures as columns of their split, such as test_loss."""
    return {f"{split}_{name}": values for name, values in figures.items()}


class Tally:
    """The loss and metrics over the examples of an epoch or a split, weighing each example alike.

    There will be `examples` of them, `batch` at a time. On the CPU a loss is looked at when it is added, so
    that training stops before the update. On an accelerator, looking would wait for it at each step: figures
    stay there, in the same place each epoch, until `means` reads them, and `lost` becomes 1 where a loss is
    not finite, upon which a fused optimizer leaves the weights alone.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: Copies,
        examples: int,
        device: torch.device,
        when: str = "evaluation",
        batch: int = EVALUATION_BATCH,
    ) -> None:
        self.recipe, self.model, self.examples = recipe, model, examples
        self.lost: Tensor | None = None
        self._kept: dict[str, Tensor] = {}
        if waits(device):
            self.lost, self._one = torch.zeros((), device=device), torch.ones((), device=device)
            self._step = torch.zeros((), dtype=torch.long, device=device)
            self._all_steps = torch.arange(steps(examples, batch), device=device)
        self.begin(when)

    def begin(self, when: str) -> None:
        """Start again from nothing."""
        self._when = when
        self._sums: dict[str, list[Any]] = {name: [] for name in ("loss", *self.recipe.metrics)}
        if self.lost is not None:
            self.lost.zero_()
            self._step.zero_()

    def measure(self, outputs: Figures, targets: Tensor) -> None:
        """One batch of which nothing is learnt: its losses are for the tally alone."""
        self.add(self.model.each(self.recipe.loss, outputs, targets), outputs, targets)

    @torch.no_grad()
    def add(self, losses: Figures, outputs: Figures, targets: Tensor) -> None:
        """One batch: losses (copies, batch), outputs and targets (copies, batch, …)."""
        now = None if self.lost is None else self._all_steps == self._step
        self._keep("loss", losses, now)
        for name, metric in self.recipe.metrics.items():
            self._keep(name, self.model.each(metric.measure, outputs, targets), now)
        if self.lost is not None:
            self._step += 1

    def _keep(self, name: str, figures: Figures, now: Tensor | None) -> None:
        """One figure of a batch; on an accelerator at the place of the step where `now` (steps,) is true."""
        sums = self.model.sums(figures)
        if self.lost is None or now is None:
            whole = sums.tolist() if isinstance(sums, Tensor) else [of_copy.tolist() for of_copy in sums]
            self._sums[name].append(whole)
            if name == "loss":
                self._check(self._sums[name][-1], len(self._sums[name]))
            return
        here = as_tensor(sums).unsqueeze(0)
        if name not in self._kept:
            self._kept[name] = here.new_zeros(len(now), *here.shape[1:])
        kept = self._kept[name]
        torch.where(
            now.view(-1, *[1] * (kept.dim() - 1)), here, kept, out=kept
        )  # one kernel; to copy by an index takes a sort of it
        if name == "loss" and here.device.type != "mps":  # as GradScaler does, with a factor of 1
            torch._amp_foreach_non_finite_check_and_unscale_([here], self.lost, self._one)

    def means(self) -> Row:
        """The loss and each metric: a list over copies."""
        sums = self._sums  # steps, copies, maybe the several figures of a metric
        if self.lost is not None:
            sums = {name: kept.tolist() for name, kept in self._kept.items()}
            for step, losses in enumerate(sums["loss"], 1):
                self._check(losses, step)
        finish = {"loss": _only} | {name: metric.finish for name, metric in self.recipe.metrics.items()}
        return {
            name: [float(finish[name](self._means(of_copy))) for of_copy in zip(*steps, strict=True)]
            for name, steps in sums.items()
        }

    def _means(self, sums: Sequence[Any]) -> list[float]:
        """Sums of each step, figures or lists of figures, as means over all examples."""
        # fsum is exact, so that a copy's figure does not depend on how many others there are.
        if not isinstance(sums[0], list):
            return [math.fsum(sums) / self.examples]
        return [math.fsum(figures) / self.examples for figures in zip(*sums, strict=True)]

    def _check(self, losses: list[float], step: int) -> None:
        for seed, loss in zip(self.model.seeds, losses, strict=True):
            if not math.isfinite(loss):
                raise Diverged(f"the loss of seed {seed} is {loss} at {self._when}, step {step}")


def waits(device: torch.device) -> bool:
    """Whether reading a figure of a device waits for all that it has to do."""
    return device.type != "cpu"


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
