"""Several labels for each example, each of which applies or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from dlrun.blocks.class_reports import rates
from dlrun.blocks.loss_trials import refuse_other_labels
from dlrun.blocks.tasks import LossPart, Metric, Report, Task, guess_for_all, sees_main
from dlrun.data.example_weights import weighted_mean, wide
from dlrun.data.examples import Data, Shape, Split
from dlrun.data.misfits import wrong_shape
from dlrun.data.trees import Tree, main_outputs, single
from dlrun.errors import UserError

usual_loss = "bce"


def multilabel(data: Data, loss: LossPart) -> Multilabel:
    """Labels that apply (1) or not (0); targets are (n, labels) floats, `classes` the names of the labels."""
    return Multilabel(data, loss)


class Multilabel(Task):
    """The outputs (n, labels) are logits: a label is predicted where it is above 0, a probability of 1/2.

    Metrics are given such logits (n, labels), or the probabilities of the labels, or their logarithms. Where
    labels have thresholds, it is predicted where its probability is above that, and metrics are given what
    its logit is above that of the threshold.
    """

    metrics = ("exact_match", "f1")
    thresholds: Tensor | None = None  # (labels,), float64

    def __init__(self, data: Data, loss: LossPart) -> None:
        super().__init__(data, loss)
        self.labels = data.classes
        if not self.labels:
            raise UserError("Data states no classes, the names of the labels")
        self.positives = self.labels
        refuse_other_labels(loss, len(self.labels))

    def needed_outputs(self) -> int:
        return len(self.data.classes)

    def output_shape(self) -> Shape:
        return (self.outputs,)

    def made_up_targets(self, n: int) -> Tensor:
        return torch.zeros(n, len(self.labels))

    def misfit(self, targets: Tree) -> str:
        targets, k = single(targets, "the targets"), len(self.labels)
        if wrong := wrong_shape(targets, (k,), f"there are {k} labels: (n, {k})"):
            return wrong
        if not targets.is_floating_point():
            return "the targets are whole numbers, but those of labels are float32: use .float()"
        if not bool(((targets == 0) | (targets == 1)).all()):
            return "a target is neither 0 nor 1: a label applies or not"
        return ""

    @property
    def alternatives(self) -> int:
        """A label applies or not."""
        return 2

    def log_odds(self, outputs: Tensor) -> Tensor:
        return wide(outputs)

    def applies(self, targets: Tensor) -> Tensor:
        return targets > 0.5

    def decided_by(self, thresholds: Mapping[str, float]) -> Self:
        found, each = copy(self), [thresholds[name] for name in self.labels if thresholds]
        found.thresholds = torch.tensor(each, dtype=torch.float64) if each else None
        return found

    def scores(self, outputs: Tensor) -> Tensor:
        """Figures (…, labels) that are above 0 where a label is predicted."""
        if self.thresholds is None:
            return outputs
        odds = wide(outputs)
        return odds - self.thresholds.logit().to(odds)

    def metric(self, metric: Metric) -> Metric:
        changes: dict[str, Callable[[Tensor], Tensor]] = {
            "outputs": self.scores,
            "probabilities": torch.sigmoid,
            "log_probabilities": logsigmoid,
        }
        by_threshold = metric.sees == "outputs" and self.thresholds is not None
        return replace(sees_main(metric, changes[metric.sees]), by_threshold=by_threshold)

    def guesses(self, training: Split, split: Split) -> dict[str, Tensor]:
        """The constant model whose probabilities are the shares of the labels in training."""
        shares = weighted_mean(training.targets, training.weights)
        return {"shares of the labels": guess_for_all(shares.logit(eps=1e-6), split)}

    def report(self, copies: int) -> Report:
        return _Labels(self.labels, self.scores, copies)

    def row(self, outputs: Tensor) -> dict[str, Any]:
        """The `labels` that are predicted, and the `probabilities` of all, as means over copies."""
        shares, applies = self._applying(outputs)
        predicted = [name for name, own in zip(self.labels, applies.tolist(), strict=True) if own]
        return {"labels": predicted, "probabilities": dict(zip(self.labels, shares.tolist(), strict=True))}

    def answers(self, outputs: Tree) -> dict[str, Tensor]:
        """`probabilities` (n, labels), and `labels` (n, labels), True for those that are predicted."""
        shares, applies = self._applying(main_outputs(outputs))
        return {"probabilities": shares, "labels": applies}

    def _applying(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """The mean probabilities (…, labels) over copies, and the labels that are predicted, as bool."""
        shares = outputs.sigmoid().mean(0)
        limits = torch.full_like(shares, 0.5) if self.thresholds is None else self.thresholds
        # of several seeds the mean probability decides
        return shares, self.scores(outputs[0]) > 0 if len(outputs) == 1 else shares > limits.to(shares)

    def truth(self, target: Tensor) -> dict[str, Any]:
        return {"true": [name for name, applies in zip(self.labels, target.tolist(), strict=True) if applies]}

    def facts(self, split: Split) -> dict[str, Any]:
        return {"labels": dict(zip(self.labels, split.targets.sum(0).int().tolist(), strict=True))}

    def warnings(self, training: Split) -> Iterator[str]:
        applied = training.targets.sum(0)
        never = [name for name, n in zip(self.labels, applied.tolist(), strict=True) if not n]
        if never:
            yield f"no training example has the label {', '.join(never)}"


class _Labels(Report):
    """The right and wrong predictions of each label, each example as often as its weight says."""

    def __init__(self, labels: tuple[str, ...], scores: Callable[[Tensor], Tensor], copies: int) -> None:
        self._labels, self._scores = labels, scores
        self._counts = torch.zeros(copies, 3, len(labels), dtype=torch.float64)  # right, predicted, true
        self._examples = torch.zeros(len(labels), dtype=torch.long)
        self._are_weighted = False

    def add(self, outputs: Tree, targets: Tree, weights: Tensor | None = None) -> None:
        predicted, true = self._scores(main_outputs(outputs)) > 0, single(targets) > 0.5
        found = torch.stack([predicted & true, predicted, true], 1).cpu()  # (copies, 3, batch, labels)
        self._are_weighted = weights is not None
        each = torch.ones(1, 1) if weights is None else weights.cpu().double()
        self._counts += (found * each.view(len(each), 1, -1, 1)).sum(2)
        self._examples += true[0].sum(0).cpu()

    def sections(self, seeds: list[int]) -> dict[str, Any]:
        """Precision, recall and F1 of each label."""
        examples = self._examples if self._are_weighted else None
        right, predicted, true = self._counts.unbind(1)
        return {"per_class": rates(right, predicted, true, self._labels, examples)}
