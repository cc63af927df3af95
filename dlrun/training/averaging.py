"""Averaged weights: those of each copy over steps or epochs, kept and measured beside the trained ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from dlrun.data.batches import Batches, Sampling
from dlrun.data.examples import Split
from dlrun.training.copies import Copies, some_of, whole_of
from dlrun.training.freezing import Freezing
from dlrun.training.hardware import Hardware

AVERAGE = "average"  # the entry of averaged weights in the state of a checkpoint


class AveragedWeights:
    """The averaged weights of all copies, as a model that is evaluated and saved.

    `model` holds all copies, `training` those that have not stopped early, as in `State`.
    """

    def __init__(self, model: Copies, trained: Copies) -> None:
        self.model = self.training = model
        self.are_latest = False  # True if they are known to be the trained weights
        for own, other in zip(model.copies, trained.copies, strict=True):
            own.load_state_dict(other.state_dict())
        self._follow(trained)

    def _follow(self, trained: Copies) -> None:
        pairs = list(zip(self.training.values(), trained.values(), strict=True))
        numbers = [pair for pair in pairs if _is_averaged(pair[0])]
        self._own, self._trained = [own for own, _ in numbers], [other for _, other in numbers]
        self._others = [pair for pair in pairs if not _is_averaged(pair[0])]

    def leave_out_stopped(self, active: Sequence[int], trained: Copies) -> None:
        """Average only the active copies from now on, whose weights are `trained`."""
        self.training = some_of(self.model, active)
        self._follow(trained)

    @torch.no_grad()
    def keep(self, share: float) -> None:
        """Set every averaged number to `share` of itself and the rest of the trained one."""
        torch._foreach_lerp_(self._own, self._trained, 1 - share)
        for own, other in self._others:
            own.copy_(other)
        self.are_latest = share == 0

    def whole_model(self) -> Copies:
        """The model of all copies with their averaged weights as they stand, to be evaluated."""
        return whole_of(self.model, self.training)

    @torch.no_grad()
    def update_bn(self, batches: Batches, epoch: int, fixed: Collection[str]) -> None:
        """Measure batch normalisation on the training batches of an epoch, without augmentation and dropout.

        The running statistics of a layer become the means over batches; those of `fixed` layers, by their
        names in a copy, stay.
        """
        layers = [
            layer
            for copy in self.training.eval().copies
            for name, layer in copy.named_modules()
            if isinstance(layer, _BatchNorm) and layer.track_running_stats and name not in fixed
        ]
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.train().reset_running_stats()
            layer.momentum = None  # a mean that counts every batch alike
        for batch in batches.shuffled(epoch) if layers else ():
            self.training(batches.examples(*batch)[0])
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.eval().momentum = momentum


def _is_averaged(value: Tensor) -> bool:
    """True for numbers with fractions: counts and flags are taken over as they are."""
    return value.is_floating_point() or value.is_complex()


@dataclass(frozen=True)
class Averaging:
    """The rule of averaged weights: the share of them that is kept after each step, or after each epoch.

    Without a `share` there are none.
    """

    share: Callable[[int], float] | None = None  # of the number of steps or epochs so far
    of_epochs: bool = False
    takes_epochs: bool = False  # True if the share depends on the length of the run, its `epochs`
    updates_bn: bool = False
    freezing: Freezing = Freezing()

    def at_length(self, epoch: int, epochs_before: int) -> Literal["same", "latest", "other"]:
        """The averaged weights after an epoch at this length of the run, where those are of another one.

        They are the same, or the latest weights, because averaging has not begun by then, or other ones.
        """
        if not (self.share and self.takes_epochs and self.of_epochs):
            return "same"
        rule: Any = self.share
        before = partial(rule, epochs=epochs_before)
        old, new = ([share(number) for number in range(1, epoch + 1)] for share in (before, self.share))
        begun = max((number for number, share in enumerate(new, 1) if share == 0), default=1)
        if old[begun - 1 :] == new[begun - 1 :]:
            return "same"
        return "latest" if begun == epoch else "other"

    def after_step(self, average: AveragedWeights | None, step: int) -> None:
        """Average the weights after a step of the run, of which the first is 1."""
        if average and self.share and not self.of_epochs:
            average.keep(self.share(step))

    def after_epoch(
        self,
        average: AveragedWeights | None,
        epoch: int,
        split: Split,
        sampling: Sampling,
        hardware: Hardware,
    ) -> None:
        """Average the weights after an epoch, and complete those that batch normalisation measures."""
        if average and self.share and self.of_epochs:
            average.keep(self.share(epoch))
        if average and self.updates_bn and not average.are_latest:
            batches = Batches(split, sampling, average.training.seeds)
            with hardware.autocast():
                average.update_bn(batches, epoch, self.freezing.norms_in(epoch))
