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
    """The quick step of the meter's model; if it has none, `update`, as fast as model and hardware allow.

    The model computes its gradients in closed form from here on, as far as it can.
    """
    model, recipe, forms = meter.model, meter.recipe, list[ClosedForm]()
    if hardware.suits_closed_form and not optimizers.takes_closure:
        forms = model.use_closed_form(reuses=optimizers.keep_no_gradients)
    does_more = augment.changes or recipe.micro_batch or not hardware.world.is_alone
    does_more = does_more or len(forms) < len(model.seeds) or not _takes(forms, batches)
    if isinstance(model, Apart) and isinstance(meter, Meter) and not does_more:
        return QuickStep(batches, model, forms, meter, optimizers, hardware)
    return hardware.repeated(update, model, optimizers, augment.streams)


def _takes(forms: Sequence[ClosedForm], batches: Batches) -> bool:
    """True if the forms take such examples."""
    example, _ = batches.split.batch(torch.zeros(1, dtype=torch.long))
    return isinstance(example, Tensor) and all(form.takes(example) for form in forms)


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
                form.backward(loss.gradient())
            else:
                fast_paths.backward([losses], [shares_in_mean(losses, 1.0)])
                form.finish()
        if self._hardware.gradient_clip is not None:
            self._model.clip(self._hardware.gradient_clip, self._hardware.clip_mode)
        self._optimizers.step()

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
