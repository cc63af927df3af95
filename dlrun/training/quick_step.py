"""The quick step: a training step of fully connected networks on the CPU in one function.

It does what `update` of fit() does with them, in the same order and with the same bits, and leaves out what
they do not use: augmentations, pieces of batches, other processes, mixed precision.
tests/training/test_quick_step.py holds it against `update`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dlrun.data.batches import Batches
from dlrun.data.trees import Tree, at, single
from dlrun.training import fast_paths
from dlrun.training.augmentation import Augmentation
from dlrun.training.closed_form import ClosedForm
from dlrun.training.closed_losses import closed_loss
from dlrun.training.copies import Apart
from dlrun.training.graphs import Update
from dlrun.training.hardware import Hardware
from dlrun.training.meters import DeviceMeter, Meter
from dlrun.training.micro_batches import shares_in_mean
from dlrun.training.optimizers import Optimizers


def quickest_step(
    update: Update,
    batches: Batches,
    augment: Augmentation,
    meter: Meter | DeviceMeter,
    optimizers: Optimizers,
    hardware: Hardware,
) -> Update:
    """The quick step of the meter's model, or `update` as fast as the hardware allows, if it does more."""
    model, recipe = meter.model, meter.recipe
    does_more = augment.changes or recipe.micro_batch or optimizers.takes_closure
    is_plain = not does_more and hardware.suits_closed_form and hardware.world.is_alone
    if is_plain and isinstance(model, Apart) and isinstance(meter, Meter):
        forms = _forms(model, batches)
        if len(forms) == len(model.seeds):
            return QuickStep(batches, model, forms, meter, optimizers, hardware)
    return hardware.repeated(update, model, optimizers, augment.streams)


def _forms(model: Apart, batches: Batches) -> list[ClosedForm]:
    """The closed form of each copy that has one for these examples."""
    forms = [form for form in model.closed_forms() if form]
    example, _ = batches.split.batch(torch.zeros(1, dtype=torch.long)) if forms else ({}, {})
    return [form for form in forms if isinstance(example, Tensor) and form.takes(example)]


class QuickStep:
    """One step of copies with these closed forms, on a batch as `Batches.shuffled` yields it."""

    def __init__(
        self,
        batches: Batches,
        model: Apart,
        forms: Sequence[ClosedForm],
        meter: Meter,
        optimizers: Optimizers,
        hardware: Hardware,
    ) -> None:
        self._split, self._model, self._meter = batches.split, model, meter
        self._optimizers, self._hardware = optimizers, hardware
        self._copies = [(form, closed_loss(meter.recipe.loss)) for form in forms]
        self._gathers = [batches.gather() for _ in forms]
        self._draws = any(form.draws for form in forms)

    def __call__(self, *batch: Tree) -> None:
        measured = [self._measured(index, *batch) for index in range(len(self._copies))]
        self._meter.add_batch([sums for _, sums in measured])  # raises Diverged if a loss is not finite
        for group in self._optimizers.param_groups:
            for weight in group["params"]:
                weight.grad = None
        for (form, loss), (losses, _) in zip(self._copies, measured, strict=True):
            if loss and not losses.requires_grad:
                form.backward(loss.gradient())
            else:
                fast_paths.backward([losses], [shares_in_mean(losses, 1.0)])
                form.finish()
        if self._hardware.gradient_clip is not None:
            self._model.clip(self._hardware.gradient_clip, self._hardware.clip_mode)
        self._optimizers.step()

    def _measured(self, index: int, *batch: Tree) -> tuple[Tensor, dict[str, Any]]:
        """The losses (batch,) of a copy, and the sums of all figures over the batch."""
        (form, loss), recipe = self._copies[index], self._meter.recipe
        inputs, targets = self._examples(index, *batch)
        if self._draws:
            self._model.streams.take_up(index)
        if loss and targets.dim() == 1:
            outputs = form.forward(inputs)
            losses = loss.losses(outputs, targets)
        else:
            outputs = form(inputs)
            losses = recipe.loss(outputs, *recipe.judged(targets, inputs))
        if self._draws:
            self._model.streams.lay_down(index)
        return losses, self._meter.sums_of(losses, outputs, targets)

    def _examples(self, index: int, *batch: Tree) -> tuple[Any, Any]:
        """The inputs and targets (batch, …) of a copy."""
        if len(batch) == 2:
            return at(batch[0], index), at(batch[1], index)
        gather, indices = self._gathers[index], single(batch[0])[index]
        return gather(indices) if gather else self._split.batch(indices)
