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
    """The plan with decisions by thresholds (see `Task.decided_by`), and metrics of these."""
    task = plan.task.decided_by(thresholds)
    metrics = {choice.name: metric(plan.parts, choice, task) for choice in plan.config.metrics}
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
    figures, of_surer = (_of_each_decision(found, size, labels=labels) for size in (1.0, 3.0))
    if not torch.equal(figures, of_surer):
        raise UserError(f"{name} judges more than the predicted class: the size of outputs too", fix=fix)
    if torch.equal(figures[0], figures[1]) and torch.equal(figures[2], figures[3]):
        raise UserError(f"{name} is the same at every threshold", fix=fix)
    return OfDecisions(name, figures, found.finish, part.constants.get("better") != "lower")


def _of_each_decision(metric: Metric, size: float, *, labels: bool) -> Tensor:
    """The figures (4, k) of the decisions by outputs of some size (see `OfDecisions`)."""
    true, said = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    outputs = size * (2.0 * one_hot(said, 2) - 1)
    if labels:
        outputs, true = outputs[:, 1:], true.float().unsqueeze(1)
    return wide(metric.measure(outputs, true)).view(4, -1)


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
    means = torch.stack(
        [judged_by.of(_decisions(own, true, each, candidates.logit())) for own in log_odds]
    ).mean(0)
    means = means if judged_by.is_higher_better else -means
    if bool(means.isnan().all()):
        return None
    best = means >= means[~means.isnan()].max() - _SAME
    return float(min(candidates[best].tolist(), key=lambda threshold: abs(threshold - 0.5)))


def _decisions(log_odds: Tensor, true: Tensor, weights: Tensor, limits: Tensor) -> Tensor:
    """The weights (m, 4) of right and wrong decisions (see `OfDecisions`) at each of some limits (m,)."""
    ranked, order = log_odds.sort()
    by_truth = torch.stack([weights * ~true, weights * true], 1)[order]
    nothing = by_truth.new_zeros(1, 2)
    not_above = torch.cat([nothing, by_truth.cumsum(0)])
    # summed from the other end, so that it is exactly 0 where there is none
    above = torch.cat([by_truth.flip(0).cumsum(0).flip(0), nothing])
    places = torch.searchsorted(ranked, limits, right=True)
    return torch.stack([not_above[places], above[places]], 2).flatten(1)
