"""The meters of loss and metrics over the examples of an epoch or a split, each example weighing alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from dlrun.data.batches import steps
from dlrun.data.examples import EVALUATION_BATCH
from dlrun.errors import Diverged
from dlrun.training.copies import Copies, Figures, as_tensor
from dlrun.training.recipe import Recipe, Row, only


def meter_for(
    device: torch.device,
    recipe: Recipe,
    model: Copies,
    examples: int,
    when: str = "evaluation",
    batch: int = EVALUATION_BATCH,
) -> Meter | DeviceMeter:
    """A meter of `examples` examples, `batch` at a time, measured `when`: words for an error message."""
    if is_asynchronous(device):
        return DeviceMeter(device, recipe, model, examples, when, batch)
    return Meter(recipe, model, examples, when)


def is_asynchronous(device: torch.device) -> bool:
    """Whether a device computes while Python goes on, so that reading a figure waits for all before it."""
    return device.type != "cpu"


class Meter:
    """A meter on the CPU: a loss is looked at when it is added, so that training stops before the update."""

    not_finite: Tensor | None = None  # nothing that an optimizer would have to heed

    def __init__(self, recipe: Recipe, model: Copies, examples: int, when: str) -> None:
        self.recipe, self.model, self.examples = recipe, model, examples
        self.begin(when)

    def begin(self, when: str) -> None:
        """Start again from nothing."""
        self._when = when
        self._sums: dict[str, list[Any]] = {name: [] for name in ("loss", *self.recipe.metrics)}

    def measure(self, outputs: Figures, targets: Tensor) -> None:
        """One batch of which nothing is learnt: its losses are for the meter alone."""
        self.add(self.model.each(self.recipe.loss, outputs, targets), outputs, targets)

    @torch.no_grad()
    def add(self, losses: Figures, outputs: Figures, targets: Tensor) -> None:
        """One batch: losses (copies, batch), outputs and targets (copies, batch, …).

        Raises Diverged where a loss is not finite.
        """
        kept = self._sums["loss"]
        kept.append(_numbers(self.model.sums(losses)))
        _refuse_not_finite(kept[-1], self.model, self._when, len(kept))
        for name, metric in self.recipe.metrics.items():
            measured = self.model.each(metric.measure, outputs, targets)
            self._sums[name].append(_numbers(self.model.sums(measured)))

    def means(self) -> Row:
        """The loss and each metric: a list over copies."""
        return _means(self._sums, self.recipe, self.examples)


class DeviceMeter:
    """A meter on an accelerator, where looking at a figure would wait for it at each step.

    Figures stay on the device, in the same place each epoch, until `means` reads them; where a loss is not
    finite `not_finite` () becomes 1, upon which a fused optimizer leaves the weights alone.
    """

    def __init__(
        self, device: torch.device, recipe: Recipe, model: Copies, examples: int, when: str, batch: int
    ) -> None:
        self.recipe, self.model, self.examples = recipe, model, examples
        self.not_finite, self._one = torch.zeros((), device=device), torch.ones((), device=device)
        self._step = torch.zeros((), dtype=torch.long, device=device)
        self._all_steps = torch.arange(steps(examples, batch), device=device)
        self._sums: dict[str, Tensor] = {}  # (steps, copies) or (steps, copies, figures of a metric)
        self.begin(when)

    def begin(self, when: str) -> None:
        """Start again from nothing."""
        self._when = when
        self.not_finite.zero_()
        self._step.zero_()

    def measure(self, outputs: Figures, targets: Tensor) -> None:
        """One batch of which nothing is learnt: its losses are for the meter alone."""
        self.add(self.model.each(self.recipe.loss, outputs, targets), outputs, targets)

    @torch.no_grad()
    def add(self, losses: Figures, outputs: Figures, targets: Tensor) -> None:
        """One batch: losses (copies, batch), outputs and targets (copies, batch, …)."""
        now = self._all_steps == self._step
        sums = self._keep("loss", losses, now)
        if sums.device.type != "mps":  # as GradScaler does, with a factor of 1
            torch._amp_foreach_non_finite_check_and_unscale_([sums], self.not_finite, self._one)
        for name, metric in self.recipe.metrics.items():
            self._keep(name, self.model.each(metric.measure, outputs, targets), now)
        self._step += 1

    def _keep(self, name: str, figures: Figures, now: Tensor) -> Tensor:
        """The sums of one figure of a batch, kept at the step where `now` (steps,) is true."""
        sums = as_tensor(self.model.sums(figures)).unsqueeze(0)
        if name not in self._sums:
            self._sums[name] = sums.new_zeros(len(now), *sums.shape[1:])
        kept = self._sums[name]
        # One kernel; to copy by an index takes a sort of it.
        torch.where(now.view(-1, *[1] * (kept.dim() - 1)), sums, kept, out=kept)
        return sums

    def means(self) -> Row:
        """The loss and each metric: a list over copies. Raises Diverged where a loss is not finite."""
        sums = {name: kept.tolist() for name, kept in self._sums.items()}
        for step, losses in enumerate(sums["loss"], 1):
            _refuse_not_finite(losses, self.model, self._when, step)
        return _means(sums, self.recipe, self.examples)


def _numbers(sums: Tensor | Sequence[Tensor]) -> list[Any]:
    """The sums of each copy as numbers, or as lists of them where a metric has several figures."""
    whole: list[Any] = sums.tolist() if isinstance(sums, Tensor) else [each.tolist() for each in sums]
    return whole


def _means(sums: dict[str, list[Any]], recipe: Recipe, examples: int) -> Row:
    """The sums of each step, over copies and maybe figures of a metric, as one figure for each copy."""
    finish: dict[str, Callable[[list[float]], float]] = {"loss": only}
    finish |= {name: metric.finish for name, metric in recipe.metrics.items()}
    return {
        name: [float(finish[name](_of_copy(each, examples))) for each in zip(*of_steps, strict=True)]
        for name, of_steps in sums.items()
    }


def _of_copy(sums: Sequence[Any], examples: int) -> list[float]:
    """The sums of each step, figures or lists of figures, as means over all examples."""
    # fsum is exact, so that a copy's figure does not depend on how many others there are.
    if not isinstance(sums[0], list):
        return [math.fsum(sums) / examples]
    return [math.fsum(figures) / examples for figures in zip(*sums, strict=True)]


def _refuse_not_finite(losses: list[float], model: Copies, when: str, step: int) -> None:
    """Raises Diverged where the summed loss of a copy is not a finite number."""
    for seed, loss in zip(model.seeds, losses, strict=True):
        if not math.isfinite(loss):
            raise Diverged(f"the loss of seed {seed} is {loss} at {when}, step {step}")
