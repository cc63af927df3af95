"""The meter of losses and metrics over the examples of an epoch or a split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dlrun.data.batches import steps
from dlrun.data.examples import EVALUATION_BATCH
from dlrun.errors import Diverged
from dlrun.training.copies import Copies, Figures, as_tensor
from dlrun.training.recipe import Recipe, Row, only


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
        if is_asynchronous(device):
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
        finish = {"loss": only} | {name: metric.finish for name, metric in self.recipe.metrics.items()}
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


def is_asynchronous(device: torch.device) -> bool:
    """Whether reading a figure of a device waits for all that it has to do."""
    return device.type != "cpu"
