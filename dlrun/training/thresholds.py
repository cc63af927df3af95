"""Thresholds: probabilities above which a class or a label is predicted, chosen by a metric and applied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dlrun.blocks.tasks import Metric
from dlrun.config.keys import Choice
from dlrun.data.example_weights import wide
from dlrun.errors import UserError
from dlrun.training.named_parts import metric, stated_metric
from dlrun.training.plan import Plan
from dlrun.training.suitability import refuse_unsuited

_SAME = 1e-12  # between figures that count as equal
_ONE_SIDED = {  # a metric of one kind of errors -> what is best for it
    "precision": "is largest where hardly anything is predicted, however much is missed",
    "recall": "is largest where everything is predicted, however much is wrong",
    "specificity": "is largest where nothing is predicted, however much is missed",
}


def decided_by(plan: Plan, thresholds: Mapping[str, float]) -> Plan:
    """The plan with decisions by thresholds (see `Task.decided_by`), and metrics of these.

    A metric that judges more than decisions is given the outputs that it had in training.
    """
    task, as_trained = plan.task.decided_by(thresholds), plan.task.decided_by({})
    labels = 0 if task.decision else len(task.positives)
    metrics = {}
    for choice in plan.config.metrics:
        is_changed = thresholds and _is_of_decisions(stated_metric(plan.parts, choice, plan.data), labels)
        metrics[choice.name] = metric(plan.parts, choice, task if is_changed else as_trained)
    return replace(plan, task=task, recipe=replace(plan.recipe, metrics=metrics))


@dataclass(frozen=True)
class OfDecisions:
    """A metric as a function of the numbers of right and wrong decisions on a class or a label."""

    name: str
    figures: Tensor  # (4, k) of an example: of the others not and wrongly predicted, then of those it is true
    finish: Callable[[list[float]], float]
    is_higher_better: bool

    def of(self, counts: Tensor) -> Tensor:
        """The metric (m,) of several numbers (m, 4) of such examples, or sums of their weights."""
        means = counts @ self.figures / counts.sum(1, keepdim=True)
        return torch.tensor([self.finish(own) for own in means.tolist()], dtype=torch.float64)


def metric_of_decisions(plan: Plan, choice: Choice) -> OfDecisions:
    """The metric that a choice names, of the decisions on one of the task's positives.

    Raises UserError for one that is not for the task, and for one by which no threshold can be chosen: it
    judges more than decisions, or one kind of errors alone.
    """
    name, part, labels = choice.name, plan.parts.part("metrics", choice.name), plan.task.decision is None
    fix = "choose f1" if labels else "choose f1 or balanced_accuracy, in which both kinds of errors count"
    try:
        refuse_unsuited(plan.parts, part, plan.data, plan.config.dataset.name, plan.task)
    except UserError as error:
        error.fix = fix
        raise
    if name in _ONE_SIDED:
        raise UserError(f"{name} alone {_ONE_SIDED[name]}", fix=fix)
    found = stated_metric(plan.parts, choice, plan.data)
    if found.sees != "outputs":
        raise UserError(f"{name} judges probabilities, which no threshold changes", fix=fix)
    if found.whole:
        raise UserError(f"{name} is one figure of a whole split, by which no threshold is chosen", fix=fix)
    if labels and found.has_places:
        what = f"{name} judges all labels of an example at once, and each has a threshold of its own"
        raise UserError(what, fix=fix)
    if not _is_of_decisions(found, int(labels)):
        raise UserError(f"{name} judges more than the predicted class: the size of outputs too", fix=fix)
    figures = wide(found.measure(*_each_decision(int(labels)))).view(4, -1)
    if torch.equal(figures[0], figures[1]) and torch.equal(figures[2], figures[3]):
        raise UserError(f"{name} is the same at every threshold", fix=fix)
    return OfDecisions(name, figures, found.finish, part.constants.get("better") != "lower")


def _is_of_decisions(metric: Metric, labels: int) -> bool:
    """True if a metric judges the predicted class of two, or the predicted `labels`, and nothing else."""
    if metric.sees != "outputs":
        return False
    outputs, true = _each_decision(labels)
    sizes = 1 + 3 * torch.rand(outputs.shape, generator=torch.Generator().manual_seed(0))
    figures, of_surer = (
        wide(torch.as_tensor(metric.measure(own, true))) for own in (outputs, sizes * outputs)
    )
    return torch.allclose(figures, of_surer, rtol=0, atol=0, equal_nan=True)


def _each_decision(labels: int) -> tuple[Tensor, Tensor]:
    """Outputs and targets of four examples, whose decisions have the order of `OfDecisions`."""
    true, said = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    outputs = 2.0 * one_hot(said, 2) - 1
    if labels:
        return outputs[:, 1:].expand(-1, labels), true.float().unsqueeze(1).expand(-1, labels)
    return outputs, true


def best_threshold(
    log_odds: Tensor, true: Tensor, judged_by: OfDecisions, weights: Tensor | None = None
) -> float | None:
    """The threshold at which the mean of a metric over copies is best; None if it is nan at all of them.

    From the `log_odds` (copies, n) of the probabilities of a class or a label, `true` (n,) where it applies,
    and the weights (n,) of the examples. It is 1/2 or halfway between two probabilities, of equally good ones
    the nearest to 1/2.
    """
    each = wide(torch.ones_like(true) if weights is None else weights)
    log_odds, true, each = log_odds[:, each > 0], true[each > 0], each[each > 0]
    shares = log_odds.sigmoid().unique()
    halfway = (shares[1:] + shares[:-1]) / 2
    candidates = torch.cat([halfway.new_tensor([0.5]), halfway[(halfway > 0) & (halfway < 1)]])
    limits = candidates.logit()
    means = torch.stack([_figures(own, true, each, limits, judged_by) for own in log_odds]).mean(0)
    means = means if judged_by.is_higher_better else -means
    if bool(means.isnan().all()):
        return None
    best = means >= means[~means.isnan()].max() - _SAME
    return float(min(candidates[best].tolist(), key=lambda threshold: abs(threshold - 0.5)))


def _figures(
    log_odds: Tensor, true: Tensor, weights: Tensor, limits: Tensor, judged_by: OfDecisions
) -> Tensor:
    """The metric (m,) of the decisions of one copy at each of some limits (m,)."""
    ranked, order = log_odds.sort()
    by_truth = torch.stack([weights * ~true, weights * true], 1)[order]
    nothing = by_truth.new_zeros(1, 2)
    not_above = torch.cat([nothing, by_truth.cumsum(0)])
    # summed from the other end, so that it is exactly 0 where there is none
    above = torch.cat([by_truth.flip(0).cumsum(0).flip(0), nothing])
    counts = torch.stack([not_above, above], 2).flatten(1)
    # most limits are between probabilities of other copies, where this one decides alike
    places, of_limits = torch.searchsorted(ranked, limits, right=True).unique(return_inverse=True)
    return judged_by.of(counts[places])[of_limits]
