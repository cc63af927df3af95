"""Losses and metrics of examples with weights: the mean of a figure is Σ w · figure / Σ w."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from dlrun.blocks.tasks import Judge, LossPart, Measure, Metric, Task, mean_of
from dlrun.data.example_weights import parted, wide
from dlrun.data.trees import Tree
from dlrun.errors import UserError


def judge_of(task: Task) -> Judge:
    """The loss of each example as training sees it: `Task.judge`, times the weights of the examples."""
    if not task.data.weighted:
        return task.judge
    return lambda measure: _weighted_loss(task.judge(measure))


def gives_weights(task: Task) -> bool:
    """True if `judge_of` gives w · loss and w."""
    return task.is_weighted or task.data.weighted


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


def refuse_weights(loss: LossPart) -> None:
    """Raise UserError if a loss judges a batch as a whole, in which no example has a weight."""
    if loss.is_batchwise:
        what = f"{loss.name} judges a batch as a whole, in which no example can count more than another"
        raise UserError(what, fix="take a loss of each example, or train without weights")
