"""The quick step: a training step of fully connected networks on the CPU in one function.

It does what `update` of fit() does with them, in the same order and with the same bits, and leaves out what
they do not use: augmentations, pieces of batches, other processes, mixed precision, and of stacked copies
losses without a closed form.
tests/training/test_quick_step.py holds it against `update`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dlrun.data.batches import Batches
from dlrun.data.loaded import shaped_like
from dlrun.data.trees import Tree, at, single
from dlrun.training import fast_paths
from dlrun.training.augmentation import Augmentation
from dlrun.training.closed_form import ClosedForm
from dlrun.training.closed_losses import ClosedLoss, closed_loss
from dlrun.training.copies import Apart, Copies, Stacked
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
    """The quick step of the meter's model; if it has none, `update`, as fast as model and hardware allow.

    The model computes its gradients in closed form from here on, as far as it can.
    """
    model, recipe, forms = meter.model, meter.recipe, list[ClosedForm]()
    if hardware.suits_closed_form and not optimizers.takes_closure:
        forms = model.use_closed_form(reuses=optimizers.keep_no_gradients)
    does_more = augment.changes or recipe.micro_batch or not hardware.world.is_alone
    if forms and isinstance(meter, Meter) and not does_more:
        quick = _quick_step(batches, forms, meter, optimizers, hardware)
        if quick is not None:
            return quick
    return hardware.repeated(update, model, optimizers, augment.streams)


def _quick_step(
    batches: Batches,
    forms: Sequence[ClosedForm],
    meter: Meter,
    optimizers: Optimizers,
    hardware: Hardware,
) -> QuickStep | StackedQuickStep | None:
    """The quick step of the meter's model, if its forms take the examples."""
    model = meter.model
    one = torch.zeros(1, *[1] * isinstance(model, Stacked), dtype=torch.long)  # the index of an example
    inputs, targets = batches.split.batch(one)
    if not isinstance(inputs, Tensor) or not all(form.takes(inputs) for form in forms):
        return None
    if isinstance(model, Apart):
        every_copy = len(forms) == len(model.seeds)
        return QuickStep(batches, model, forms, meter, optimizers, hardware) if every_copy else None
    loss = closed_loss(meter.recipe.loss)
    is_one_class = isinstance(targets, Tensor) and targets.dim() == 2  # no shares of classes, no weights
    if loss is None or not is_one_class:
        return None
    return StackedQuickStep(batches, model, forms[0], loss, meter, optimizers, hardware)


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
        # A loss that is given the inputs may keep them.
        self._gathers = [None if meter.recipe.loss_takes_inputs else batches.gather() for _ in forms]
        self._draws = any(form.draws for form in forms)

    def __call__(self, *batch: Tree) -> None:
        computed = [self._computed(index, *batch) for index in range(len(self._copies))]
        self._meter.add_copies(computed)  # raises Diverged if a loss is not finite
        self._optimizers.clear_gradients()
        for (form, loss), (losses, *_) in zip(self._copies, computed, strict=True):
            if loss and not losses.requires_grad:
                form.backward(loss.gradient(1.0 / len(losses)))
            else:
                fast_paths.backward([losses], [shares_in_mean(losses, 1.0)])
                form.finish()
        _learn(self._model, self._optimizers, self._hardware)

    def _computed(self, index: int, *batch: Tree) -> tuple[Tensor, Tensor, Any]:
        """The losses (batch,), the outputs (batch, …) and the targets (batch, …) of a copy."""
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
        return losses, outputs, targets

    def _examples(self, index: int, *batch: Tree) -> tuple[Any, Any]:
        """The inputs and targets (batch, …) of a copy."""
        if len(batch) == 2:
            return at(batch[0], index), at(batch[1], index)
        gather, indices = self._gathers[index], single(batch[0])[index]
        return gather(indices) if gather else self._split.batch(indices)


class StackedQuickStep:
    """One step of stacked copies with this closed form and loss, on a batch of `Batches.shuffled`."""

    def __init__(
        self,
        batches: Batches,
        model: Stacked,
        form: ClosedForm,
        loss: ClosedLoss,
        meter: Meter,
        optimizers: Optimizers,
        hardware: Hardware,
    ) -> None:
        self._batches, self._model, self._form, self._loss = batches, model, form, loss
        self._meter, self._optimizers, self._hardware = meter, optimizers, hardware
        self._gather = None if meter.recipe.loss_takes_inputs else batches.gather()

    def __call__(self, *batch: Tree) -> None:
        inputs, targets = self._examples(*batch)
        outputs = self._model.outputs_of(self._form, inputs)
        losses = self._loss.losses(outputs.flatten(0, 1), targets.flatten())
        self._meter.add(losses.view(targets.shape), outputs, targets)  # raises Diverged if one is not finite
        self._optimizers.clear_gradients()
        # Each copy learns from the mean over its own examples.
        self._form.backward(self._loss.gradient(1.0 / targets.shape[1]).view(outputs.shape))
        _learn(self._model, self._optimizers, self._hardware)

    def _examples(self, *batch: Tree) -> tuple[Any, Any]:
        """The inputs and targets of all copies, (copies, batch, …)."""
        if self._gather is None or len(batch) == 2:
            return self._batches.examples(*batch)
        indices = single(batch[0])
        inputs, targets = self._gather(indices.flatten())
        return shaped_like(indices, inputs), shaped_like(indices, targets)


def _learn(model: Copies, optimizers: Optimizers, hardware: Hardware) -> None:
    """Update the weights by their gradients, after these were clipped."""
    if hardware.gradient_clip is not None:
        model.clip(hardware.gradient_clip, hardware.clip_mode)
    optimizers.step()
