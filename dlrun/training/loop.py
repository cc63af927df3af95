"""The training loop: `fit` trains and yields one row of figures per epoch, `evaluate` measures a split.

`update` inside `fit` is one optimizer step: forward pass, loss, meter, backward pass. `set_rates` sets the
learning rates before each step. Saving, early stopping and the display are left to the caller,
`train_run` in experiment.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dlrun.data.batches import Batches
from dlrun.data.examples import Split
from dlrun.data.loaded import Loaded
from dlrun.data.trees import Tree, expanded, joined
from dlrun.training.augmentation import Augmentation, training_split
from dlrun.training.copies import Copies
from dlrun.training.hardware import Hardware
from dlrun.training.meters import meter_for
from dlrun.training.optimizers import Optimizers
from dlrun.training.recipe import Recipe, Row
from dlrun.training.state import State
from dlrun.training.within_epoch import WithinEpoch

Batch = tuple[Tree, ...]  # Batches.examples turns it into inputs and targets, (copies, batch, …) each
EachBatch = Callable[[Iterator[Batch]], Iterable[Batch]]


def fit(
    state: State, data: Loaded, recipe: Recipe, hardware: Hardware, each_batch: EachBatch = iter
) -> Iterator[Row]:
    """Train the remaining epochs and yield the figures of each: for every column a list over active copies.

    At every yield, and whenever `each_batch` asks for another batch, `state` is complete: save it, and a
    later fit() continues as if training had never stopped. To stop early, leave the loop. Raises Diverged if
    a loss is not finite: on the CPU before the update, on an accelerator before the row, because reading the
    loss at each step would make the device wait (see DeviceMeter).
    """
    model, optimizers = hardware.prepare(state.training), state.optimizers
    changes = [change.on(data) for change in recipe.augmentations]
    batches = Batches(training_split(data, changes), recipe.sampling, model.seeds, hardware.device)
    augment = Augmentation(changes, model.seeds, hardware.device)
    meter = meter_for(hardware.device, recipe, model, batches.examples_of_epoch, batch=batches.size)
    planned, split = recipe.epochs * len(batches), recipe.evaluation_split  # planned: steps of the whole run

    def update(*batch: Tree) -> None:
        inputs, targets = augment(*batches.examples(*batch))
        with hardware.autocast():
            outputs = model(inputs)
        losses = model.losses(recipe.loss, outputs, targets)  # (copies, batch), or with weights (…, 2)
        meter.add(losses, outputs, targets)  # on the CPU raises Diverged if a loss is not finite
        again = partial(model.again, loss=recipe.loss, inputs=inputs, targets=targets)
        hardware.step(losses, model, optimizers, state.scaler, meter.not_finite, again)

    update_once = hardware.repeated(update, model, optimizers, augment.streams)
    for epoch in range(state.epoch + 1, recipe.epochs + 1):  # a resumed run starts after its last epoch
        model.begin(epoch)
        recipe.freezing.begin(epoch, model, optimizers)
        augment.begin(epoch)
        meter.begin(f"epoch {epoch}")
        within = state.enter(WithinEpoch(model, augment, meter))  # maybe after steps that were saved
        for batch in each_batch(batches.shuffled(epoch, within.step)):
            progress = ((epoch - 1) * len(batches) + within.step + 0.5) / planned
            rates = set_rates(optimizers, recipe.schedule.multipliers(progress, state.histories))
            update_once(*batch)
            within.step += 1
        row, seconds = named("train", meter.means()), within.seconds
        if split and epoch % recipe.evaluate_every == 0:
            row |= named(split, evaluate(model, data[split], recipe, hardware))
        if recipe.evaluate_train_every and epoch % recipe.evaluate_train_every == 0:
            row |= named("trainset", evaluate(model, data["train"], recipe, hardware))
        state.leave(epoch)
        yield row | {"lr": rates, "seconds": [seconds] * len(model.seeds)}


def evaluate(model: Copies, split: Split, recipe: Recipe, hardware: Hardware) -> Row:
    """Measure the loss and every metric over a whole split with the current weights."""
    meter = meter_for(hardware.device, recipe, model, len(split), batch=recipe.evaluation_batch)
    for _ in predictions(model, split, hardware, recipe.evaluation_batch, meter.measure):
        pass
    return meter.means()


def predictions(
    model: Copies,
    split: Split,
    hardware: Hardware,
    size: int,
    measure: Callable[[Tree, Tree], None] = lambda outputs, targets: None,
) -> Iterator[tuple[Tree, Tree]]:
    """Yield outputs and targets (copies, batch, …) of a split in its order, `size` examples at a time.

    Before, they are given to `measure`. If memory does not suffice for both, a piece is halved.
    """
    model.eval()
    copies, order = len(model.seeds), torch.arange(len(split), device=hardware.device)

    def compute(piece: slice) -> tuple[Tree, Tree]:
        with torch.no_grad():
            inputs, targets = split.batch(order[piece])
            with hardware.autocast():
                outputs = joined(model(expanded(inputs, copies)))
        targets = expanded(targets, copies)
        measure(outputs, targets)
        return outputs, targets

    return hardware.in_pieces(len(split), size, compute)


def set_rates(optimizers: Optimizers, multipliers: Sequence[float]) -> list[float]:
    """Set the learning rates of each copy; return those of its first parameter group."""
    every = optimizers.groups_of_each
    if len(every) == 1:  # one optimizer for all copies, which have the same multiplier
        return [set_rate(every[0], multipliers[0])] * len(multipliers)
    return [set_rate(groups, multiplier) for groups, multiplier in zip(every, multipliers, strict=True)]


def set_rate(groups: Sequence[dict[str, Any]], multiplier: float) -> float:
    """Set the learning rate of each group to `multiplier` times its initial value; return the first."""
    for group in groups:
        rate = group.setdefault("initial_lr", float(group["lr"])) * multiplier
        if isinstance(group["lr"], Tensor):  # a CUDA graph reads this tensor: write into it
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
    return float(groups[0]["initial_lr"] * multiplier)


def named(split: str, figures: Row) -> Row:
    """Give the figures the column names of their split, such as test_loss."""
    return {f"{split}_{name}": values for name, values in figures.items()}
