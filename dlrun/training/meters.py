"""Meters: running sums of the loss and the metrics over an epoch or a split.

Every example counts once, or as often as its weight says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from dlrun.blocks.tasks import mean_of
from dlrun.data.examples import EVALUATION_BATCH
from dlrun.data.trees import Figures, Tree, joined, mapped, of_copies
from dlrun.errors import Diverged
from dlrun.training.copies import Copies, Numbers, as_tensor
from dlrun.training.fast_paths import NoGradients
from dlrun.training.micro_batches import WHOLE, Piece
from dlrun.training.recipe import Recipe, Row
from dlrun.training.world import ALONE, World

Sums = dict[str, list[Any]]  # of each step: (steps, copies), or (steps, copies, figures of a metric)


def meter_for(
    device: torch.device,
    recipe: Recipe,
    model: Copies,
    examples: int,
    when: str = "evaluation",
    batch: int = EVALUATION_BATCH,
    world: World = ALONE,
) -> Meter | DeviceMeter:
    """The meter for `examples` examples in batches of `batch`; `when` appears in its error messages.

    Of several processes the meter of each sees some of them, and `means` are those of all.
    """
    if is_asynchronous(device):
        return DeviceMeter(device, recipe, model, examples, when, batch, world)
    return Meter(recipe, model, examples, when, world)


def is_asynchronous(device: torch.device) -> bool:
    """True if the device computes while Python continues, so that reading a value waits for the queue."""
    return device.type != "cpu"


class Meter:
    """A meter on the CPU: it checks each loss when it is added, so that training stops before the update."""

    not_finite: Tensor | None = None  # no flag for the optimizer: `add` has raised by then

    def __init__(self, recipe: Recipe, model: Copies, examples: int, when: str, world: World = ALONE) -> None:
        self.recipe, self.model, self.examples, self.world = recipe, model, examples, world
        self._means = recipe.means
        self.begin(when)

    def begin(self, when: str) -> None:
        """Reset all sums."""
        self._when, self._step = when, 0
        self.world.enter(when)
        self.sums: Sums = {name: [] for name in ("loss", *self._means)}
        self.whole = WholeSplit(self.recipe)

    def go_on(self, step: int, sums: Sums) -> None:
        """Go on after so many steps, of which `sums` are those of all processes: the first one keeps them."""
        self._step = step
        if not self.world.rank:
            self.sums = sums

    def sums_of_all(self) -> Sums:
        """The sums of the steps so far, of all processes."""
        return of_all(self.world, self.recipe, self.sums, self.whole)[0]

    def measure(self, outputs: Figures, targets: Tree, inputs: Tree) -> None:
        """Add an evaluation batch, computing its losses: outputs, targets and inputs (copies, batch, …)."""
        on_cpu = self.whole.on_cpu(outputs, targets)
        losses = self.model.losses(self.recipe.loss, outputs, *self.recipe.judged(targets, inputs))
        self.add(losses, outputs, targets)
        self.whole.add(on_cpu)

    def add(self, losses: Numbers, outputs: Figures, targets: Tree, piece: Piece = WHOLE) -> None:
        """Add a batch or a piece of one: losses (copies, n[, 2]), outputs and targets (copies, n, …).

        Raises Diverged if a loss is not finite; of several processes all do so together, when they exchange
        something next. A batch for which memory runs out is not added.
        """
        self._step += piece.is_first
        if not piece.share:
            return
        with NoGradients():
            sums = {"loss": _numbers(self.model.sums(losses))}
            self._refuse_not_finite(sums["loss"])
            for name, metric in self._means.items():
                sums[name] = _numbers(self.model.sums(self.model.each(metric.measure, outputs, targets)))
        for name, own in sums.items():
            if piece.is_first:
                self.sums[name].append(own)
            else:
                self.sums[name][-1] = _added(self.sums[name][-1], own)

    def add_copies(self, computed: Sequence[tuple[Tensor, Tensor, Tree]]) -> None:
        """As `add`, by the losses (n[, 2]), the outputs and the targets (n, …) of each copy."""
        self._step += 1
        with NoGradients():
            losses = [own.sum(0, dtype=torch.float64).tolist() for own, _, _ in computed]
            self._refuse_not_finite(losses)
            self.sums["loss"].append(losses)
            for name, metric in self._means.items():
                figures = [metric.measure(outputs, targets) for _, outputs, targets in computed]
                self.sums[name].append([own.sum(0, dtype=torch.float64).tolist() for own in figures])

    def _refuse_not_finite(self, losses: list[Any]) -> None:
        """Raise Diverged if the summed loss of a copy is not finite; of several processes note it for all."""
        try:
            _refuse_not_finite(losses, self.model, self._when, self._step)
        except Diverged as diverged:
            if self.world.is_alone:
                raise
            self.world.note(diverged)

    def means_of_step(self, examples: int) -> list[float]:
        """The mean loss of each copy over the last step, which had so many examples."""
        return [mean_of(_of_copy([of_step], examples)) for of_step in self.sums["loss"][-1]]

    def means(self) -> Row:
        """The mean loss and each metric so far: a list over copies."""
        sums, whole = of_all(self.world, self.recipe, self.sums, self.whole)
        return _means(sums, self.recipe, self.examples) | whole.figures()


def of_all(world: World, recipe: Recipe, sums: Sums, whole: WholeSplit) -> tuple[Sums, WholeSplit]:
    """The sums of all processes, and all that they kept, in the order of the pieces.

    Sums are added up exactly, so that figures are the same at any number of processes.
    """
    if world.is_alone:
        return sums, whole
    world.raise_noted()
    found, every = world.gathered((sums, whole.kept)), WholeSplit(recipe)
    for turn in zip_longest(*(kept for _, kept in found)):
        every.add([kept for kept in turn if kept])
    steps = {name: [step for own, _ in found for step in own.get(name, ())] for name in found[0][0]}
    return steps, every


def means_together(meters: Sequence[Meter]) -> Row:
    """The figures of several splits as if they were one, of as many copies each: a list over copies."""
    first = meters[0]
    sums = {name: [step for meter in meters for step in meter.sums[name]] for name in first.sums}
    whole = WholeSplit(first.recipe)
    for meter in meters:
        whole.add(meter.whole.kept)
    return _means(sums, first.recipe, sum(meter.examples for meter in meters)) | whole.figures()


class DeviceMeter:
    """A meter on an accelerator, where reading a figure at each step would make Python wait for the device.

    Sums stay on the device, in the same tensors each epoch (a CUDA graph writes into them), until `means`
    reads them. If a loss is not finite, `not_finite` () becomes 1, and a fused optimizer skips its update.
    """

    def __init__(
        self,
        device: torch.device,
        recipe: Recipe,
        model: Copies,
        examples: int,
        when: str,
        batch: int,
        world: World = ALONE,
    ) -> None:
        self.recipe, self.model, self.examples, self.world = recipe, model, examples, world
        self.not_finite, self._one = torch.zeros((), device=device), torch.ones((), device=device)
        self._step = torch.zeros((), dtype=torch.long, device=device)
        self._all_steps = torch.arange(-(-examples // batch), device=device)
        self._sums: dict[str, Tensor] = {}  # (steps, copies) or (steps, copies, figures of a metric)
        self.begin(when)

    def begin(self, when: str) -> None:
        """Reset all sums."""
        self._when = when
        self.world.enter(when)
        self.not_finite.zero_()
        self._step.zero_()
        self._measured = 0
        self.whole = WholeSplit(self.recipe)

    def measure(self, outputs: Figures, targets: Tree, inputs: Tree) -> None:
        """Add an evaluation batch, computing its losses: outputs, targets and inputs (copies, batch, …).

        A batch for which memory runs out is not added.
        """
        if self._measured == len(self._all_steps):  # batches are smaller than was planned
            self._double()
        on_cpu = self.whole.on_cpu(outputs, targets)
        losses = self.model.losses(self.recipe.loss, outputs, *self.recipe.judged(targets, inputs))
        self.add(losses, outputs, targets)
        self.whole.add(on_cpu)
        self._measured += 1

    def _double(self) -> None:
        """Make room for as many steps again."""
        sums = {name: torch.cat([kept, torch.zeros_like(kept)]) for name, kept in self._sums.items()}
        self._all_steps = torch.arange(2 * len(self._all_steps), device=self._all_steps.device)
        self._sums = sums

    @torch.no_grad()
    def add(self, losses: Numbers, outputs: Figures, targets: Tree, piece: Piece = WHOLE) -> None:
        """Add a batch or a piece of one: losses (copies, n[, 2]), outputs and targets (copies, n, …)."""
        if not piece.share:
            self._step += piece.is_last
            return
        now = self._all_steps == self._step
        sums = self._keep("loss", losses, now, piece)
        if sums.device.type != "mps":  # as GradScaler does, with a factor of 1
            torch._amp_foreach_non_finite_check_and_unscale_([sums], self.not_finite, self._one)
        for name, metric in self.recipe.means.items():
            self._keep(name, self.model.each(metric.measure, outputs, targets), now, piece)
        if piece.is_last:
            self._step += 1

    def _keep(self, name: str, figures: Numbers, now: Tensor, piece: Piece) -> Tensor:
        """Store the sums of a figure at the step where `now` (steps,) is true."""
        sums = as_tensor(self.model.sums(figures)).unsqueeze(0)
        if name not in self._sums:
            self._sums[name] = sums.new_zeros(len(now), *sums.shape[1:])
        kept = self._sums[name]
        # One kernel; index_copy_ would sort the index first.
        of_step = sums if piece.is_first else kept + sums
        torch.where(now.view(-1, *[1] * (kept.dim() - 1)), of_step, kept, out=kept)
        return sums

    def means_of_step(self, examples: int) -> list[float]:
        """The mean loss of each copy over the last step, which had so many examples; it waits for the device.

        It may be one that is not finite.
        """
        sums = self._sums["loss"][self._step - 1].tolist()
        return [mean_of(_of_copy([of_step], examples)) for of_step in sums]

    def means(self) -> Row:
        """The mean loss and each metric: a list over copies. Raises Diverged if a loss is not finite."""
        own = {name: kept.tolist() for name, kept in self._sums.items()}
        sums, whole = of_all(self.world, self.recipe, own, self.whole)
        for step, losses in enumerate(sums["loss"]):
            _refuse_not_finite(losses, self.model, self._when, step % len(self._all_steps) + 1)
        return _means(sums, self.recipe, self.examples) | whole.figures()


class WholeSplit:
    """The outputs and targets of an evaluated split, kept on the CPU for the metrics of a whole split."""

    def __init__(self, recipe: Recipe) -> None:
        self._metrics = recipe.whole
        self.kept: list[tuple[Tree, Tree]] = []

    def on_cpu(self, outputs: Figures, targets: Tree) -> list[tuple[Tree, Tree]]:
        """A batch as it is kept, outputs and targets (copies, batch, …); nothing if no metric needs it."""
        if not self._metrics:
            return []
        both = [mapped(lambda some: some.detach().cpu(), tree) for tree in (joined(outputs), targets)]
        return [(both[0], both[1])]

    def add(self, on_cpu: list[tuple[Tree, Tree]]) -> None:
        """Keep a batch that `on_cpu` gave."""
        self.kept += on_cpu

    def figures(self) -> Row:
        """Each metric of what was kept: a list over copies; nothing if nothing was kept."""
        if not self.kept:
            return {}
        outputs, targets = (
            of_copies(mapped(lambda *parts: torch.cat(parts, 1), *trees))
            for trees in zip(*self.kept, strict=True)
        )
        each = list(zip(outputs, targets, strict=True))
        return {
            name: [float(torch.as_tensor(metric.measure(*own))) for own in each]
            for name, metric in self._metrics.items()
        }


def _numbers(sums: Tensor | Sequence[Tensor]) -> list[Any]:
    """The sums of each copy as numbers, or as lists if a metric has several figures."""
    whole: list[Any] = sums.tolist() if isinstance(sums, Tensor) else [each.tolist() for each in sums]
    return whole


def _added(sums: list[Any], more: list[Any]) -> list[Any]:
    """The sums of two pieces of a batch, for each copy a number or a list of them."""
    return [
        _added(one, other) if isinstance(one, list) else one + other
        for one, other in zip(sums, more, strict=True)
    ]


def _means(sums: dict[str, list[Any]], recipe: Recipe, examples: int) -> Row:
    """Reduce the sums of all steps (steps, copies[, figures]) to one figure for each copy."""
    finish: dict[str, Callable[[list[float]], float]] = {"loss": mean_of}
    finish |= {name: metric.finish for name, metric in recipe.means.items()}
    return {
        name: [float(finish[name](_of_copy(each, examples))) for each in zip(*of_steps, strict=True)]
        for name, of_steps in sums.items()
    }


def _of_copy(sums: Sequence[Any], examples: int) -> list[float]:
    """Reduce one copy's sums of all steps, numbers or lists of them, to means over all examples."""
    # fsum rounds once, so that a copy's figure does not depend on how many other copies there are.
    if not isinstance(sums[0], list):
        return [math.fsum(sums) / examples]
    return [math.fsum(figures) / examples for figures in zip(*sums, strict=True)]


def _refuse_not_finite(losses: list[Any], model: Copies, when: str, step: int) -> None:
    """Raise Diverged if the summed loss of a copy is not finite."""
    for seed, summed in zip(model.seeds, losses, strict=True):
        loss = summed[0] if isinstance(summed, list) else summed  # of one with weights, the sum of w · loss
        if not math.isfinite(loss):
            raise Diverged(f"the loss of seed {seed} is {loss} at {when}, step {step}")
