"""Losses and metrics of examples with weights: the mean of a figure is Σ w · figure / Σ w."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from dlrun.blocks.class_weights import ClassWeights
from dlrun.blocks.classes import smoothed
from dlrun.blocks.tasks import Judge, LossPart, Measure, Metric, Task, mean_of
from dlrun.data.example_weights import parted, wide
from dlrun.data.trees import Tree, single
from dlrun.errors import UserError


def judge_of(task: Task) -> Judge:
    """The loss of each example as training sees it: `Task.judge`, with the options common to all losses.

    Targets are smoothed, and losses multiplied by the weights of their classes and of the examples.
    """
    smoothing, weights = task.loss.label_smoothing, task.loss.class_weights
    is_plain = not (smoothing or weights or task.data.weighted)

    def judge(measure: Measure) -> Measure:
        measure = _smoothed_loss(measure, smoothing, task.alternatives) if smoothing else measure
        measure = task.judge(_loss_by_class(measure, weights) if weights else measure)
        return _weighted_loss(measure) if task.data.weighted else measure

    def judge_with_inputs(measure: Measure) -> Measure:
        def judged(outputs: Tree, targets: Tree, inputs: Tree) -> Tensor:
            return judge(lambda *examples: measure(*examples, inputs))(outputs, targets)

        return judged

    if task.loss.takes_inputs:
        return judge_with_inputs
    return task.judge if is_plain else judge


def gives_weights(task: Task) -> bool:
    """True if `judge_of` gives w · loss and w."""
    return task.is_weighted or task.data.weighted or task.loss.class_weights is not None


def _smoothed_loss(measure: Measure, share: float, alternatives: int) -> Measure:
    """The loss (n,) of targets of which a share is spread over all alternatives."""

    def of_smoothed(outputs: Tree, targets: Tree) -> Tensor:
        return measure(outputs, smoothed(single(targets, "the targets"), share, alternatives, outputs))

    return of_smoothed


def _loss_by_class(measure: Measure, weights: ClassWeights) -> Measure:
    """The loss of each example as (n, 2): w · loss and w, where w is the weight of its class."""

    def by_class(outputs: Tree, targets: Tree) -> Tensor:
        losses = measure(outputs, targets)
        own = weights.of(single(targets, "the targets"), losses)
        if losses.shape != own.shape:
            raise ValueError(f"it gives shape {tuple(losses.shape)} for {len(own)} targets")
        return torch.stack([own * losses, own], 1)

    return by_class


def _weighted_loss(measure: Measure) -> Measure:
    """The loss of each example as (n, 2): w · loss and w; weights that it has already are multiplied."""

    def weighted(outputs: Tree, targets: Tree) -> Tensor:
        own, weights = parted(targets)
        assert weights is not None, "the examples have weights"
        losses = measure(outputs, own)
        if losses.dim() == 1:
            losses = torch.stack([losses, torch.ones_like(losses)], 1)
        return losses * weights.to(losses.dtype).unsqueeze(1)

    return weighted


def weighted_metric(metric: Metric, name: str) -> Metric:
    """A metric of examples with weights, of which it becomes the weighted mean.

    Raises UserError for one of a whole split that does not take them.
    """
    if metric.whole:
        with_them = metric.with_weights
        if with_them is None:
            what = f"{name} is one figure of a whole split, and takes no weights of examples"
            fix = "let its function take them, (outputs, targets, weights=None), or leave it out"
            raise UserError(what, fix=fix)

        def of_split(outputs: Tree, targets: Tree) -> Tensor:
            own, weights = parted(targets)
            assert weights is not None, "the examples have weights"
            return with_them(weights)(outputs, own)

        return replace(metric, measure=of_split)

    def of_batch(outputs: Tree, targets: Tree) -> Tensor:
        own, weights = parted(targets)
        assert weights is not None, "the examples have weights"
        figures, each = wide(metric.measure(outputs, own)), wide(weights).unsqueeze(1)
        return torch.cat([figures.view(len(figures), -1) * each, each], 1)

    def finish(means: list[float]) -> float:
        return metric.finish([mean_of([mean, means[-1]]) for mean in means[:-1]])

    return replace(metric, measure=of_batch, finish=finish, has_finish=True)


def refuse_smoothing(task: Task) -> None:
    """Raise UserError if targets are no classes, or not given to the loss one by one (`label_smoothing`)."""
    if not task.alternatives:
        raise UserError(f"a task {task.data.task} has no classes over which a target could be spread")
    if task.loss.is_batchwise or task.loss.has_places:
        raise UserError(
            f"{task.loss.name} judges {_judged_at_once(task.loss)}, whose targets stay as they are"
        )


def refuse_class_weights(task: Task) -> None:
    """Raise UserError if an example or a place has no class whose weight it could have (`class_weight`)."""
    if not task.decision:
        labels = "; bce has pos_weight for labels" if task.alternatives else ""
        raise UserError(f"an example of a task {task.data.task} has no class that it is of{labels}")
    if task.loss.has_places:
        raise UserError(
            f"{task.loss.name} judges {_judged_at_once(task.loss)}, of which no place counts more"
        )
    refuse_weights(task.loss)


def _judged_at_once(loss: LossPart) -> str:
    return "a batch as a whole" if loss.is_batchwise else "sequences or masks as a whole"


def refuse_weights(loss: LossPart) -> None:
    """Raise UserError if a loss judges a batch as a whole, in which no example has a weight."""
    if loss.is_batchwise:
        what = f"{loss.name} judges a batch as a whole, in which no example can count more than another"
        raise UserError(what, fix="take a loss of each example, or train without weights")
