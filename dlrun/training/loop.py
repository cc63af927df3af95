"""The training loop: `fit` trains and yields one row of figures per epoch, `evaluate` measures a split.

`update` inside `fit` is one optimizer step: forward pass, loss, meter, backward pass. `quickest_step` may put
one with the same bits in its place. `set_rates` sets the learning rates before each step. Saving, early
stopping and the display are left to the caller, `train_run` in experiment.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dlrun.config.keys import AVERAGED
from dlrun.data.batches import Batches
from dlrun.data.examples import Split
from dlrun.data.loaded import Loaded
from dlrun.data.trees import Tree, expanded, joined
from dlrun.system.randomness import generator
from dlrun.training.augmentation import Augmentation, training_split
from dlrun.training.copies import Copies
from dlrun.training.hardware import Hardware
from dlrun.training.meters import DeviceMeter, Meter, meter_for
from dlrun.training.micro_batches import MicroBatches
from dlrun.training.optimizers import Optimizers
from dlrun.training.quick_step import quickest_step
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
    a loss is not finite: on the CPU before the update, on an accelerator before the row (see DeviceMeter).
    """
    model, optimizers = hardware.prepare(state.training), state.optimizers
    batches = Batches(training_split(data, recipe.augmentations), recipe.sampling, model.seeds)
    augment = Augmentation.on(data, recipe.augmentations, model.seeds, hardware.device, recipe.epochs)
    pieces = MicroBatches(model, recipe.micro_batch, is_compiled=hardware.compile, world=hardware.world)
    meter = meter_on(hardware, recipe, model, batches.examples_of_epoch, batches.size)

    def update(*batch: Tree) -> None:
        for inputs, targets, piece in pieces(*augment(*batches.examples(*batch))):  # one, or micro-batches
            with hardware.autocast():
                outputs = model(inputs)
            judged = recipe.judged(targets, inputs)
            losses = model.losses(recipe.loss, outputs, *judged)  # (copies, batch), or with weights (…, 2)
            meter.add(losses, outputs, targets, piece)  # on the CPU raises Diverged if a loss is not finite
            again = partial(model.again, loss=recipe.loss, inputs=inputs, judged=judged)
            hardware.step(losses, model, optimizers, state.scaler, meter.not_finite, again, piece)

    update_once = quickest_step(update, batches, augment, meter, optimizers, hardware)
    for epoch in range(state.epoch + 1, recipe.epochs + 1):  # a resumed run starts after its last epoch
        model.begin(epoch)
        recipe.freezing.begin(epoch, model, optimizers)
        augment.begin(epoch)
        meter.begin(f"epoch {epoch}")
        within = state.enter(WithinEpoch(model, augment, meter))  # maybe after steps that were saved
        for batch in each_batch(batches.shuffled(epoch, within.step)):
            step = (epoch - 1) * len(batches) + within.step
            progress = (step + 0.5) / (recipe.epochs * len(batches))
            rates = set_rates(optimizers, recipe.schedule.multipliers(progress, state.histories))
            update_once(*batch)
            recipe.averaging.after_step(state.average, step + 1)
            within.step += 1
        recipe.averaging.after_epoch(state.average, epoch, data["train"], recipe.sampling, hardware)
        row, seconds = named("train", meter.means()), within.seconds
        for name in recipe.evaluated_after(epoch):
            row |= measured(name, model, state.averaged, data, recipe, hardware)
        state.leave(epoch)
        yield row | {"lr": rates, "seconds": [seconds] * len(model.seeds)}


def measured(
    name: str, model: Copies, averaged: Copies | None, data: Loaded, recipe: Recipe, hardware: Hardware
) -> Row:
    """Measure a split, as columns call it, with the trained weights and with averaged ones, if there are any.

    Averaged weights that are the trained ones, `model`, have the same figures.
    """
    split = data["train" if name == "trainset" else name]
    row = named(name, evaluate(model, split, recipe, hardware))
    if averaged is None:
        return row
    of_average = row if averaged is model else named(name, evaluate(averaged, split, recipe, hardware))
    return row | {f"{column}{AVERAGED}": values for column, values in of_average.items()}


def evaluate(model: Copies, split: Split, recipe: Recipe, hardware: Hardware) -> Row:
    """Measure the loss and every metric over a whole split with the current weights."""
    meter = meter_on(hardware, recipe, model, len(split), recipe.evaluation_batch)
    for _ in metered(meter, split, hardware):
        pass
    hardware.share_piece_size()
    return meter.means()


def meter_on(
    hardware: Hardware, recipe: Recipe, model: Copies, examples: int, batch: int
) -> Meter | DeviceMeter:
    """The meter of so many examples in batches of `batch`, of which each process may see a part."""
    return meter_for(hardware.device, recipe, model, examples, batch=batch, world=hardware.world)


def metered(meter: Meter | DeviceMeter, split: Split, hardware: Hardware) -> Iterator[tuple[Tree, Tree]]:
    """Yield the `predictions` of a meter's model, in the order of its recipe, as the meter measures them."""
    recipe = meter.recipe
    size, is_shuffled = recipe.evaluation_batch, recipe.is_evaluated_shuffled
    return predictions(meter.model, split, hardware, size, meter.measure, is_shuffled=is_shuffled)


def predictions(
    model: Copies,
    split: Split,
    hardware: Hardware,
    size: int,
    measure: Callable[[Tree, Tree, Tree], None] = lambda outputs, targets, inputs: None,
    *,
    is_shuffled: bool = False,
) -> Iterator[tuple[Tree, Tree]]:
    """Yield outputs and targets (copies, batch, …) of a split in its order, `size` examples at a time.

    Before, they are given to `measure`, with the inputs. If memory does not suffice for both, a piece is
    halved. If `is_shuffled` the order is a random one, always the same.
    """
    model.eval()
    copies, order = len(model.seeds), torch.arange(len(split))
    if is_shuffled:
        order = torch.randperm(len(split), generator=generator("evaluation", 0, 0))
    order = order.to(hardware.device)

    def compute(piece: slice) -> tuple[Tree, Tree]:
        with torch.no_grad():
            inputs, targets = (expanded(tree, copies) for tree in split.batch(order[piece]))
            with hardware.autocast():
                outputs = joined(model(inputs))
        measure(outputs, targets, inputs)
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
