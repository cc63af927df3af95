"""Classification: one class for each example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor

from dlrun.blocks.class_reports import Confusions, constant_guesses, decision_of, seen_by
from dlrun.blocks.classes import one_hot
from dlrun.blocks.decisions import Decision
from dlrun.blocks.tasks import LossPart, Metric, Task, guess_for_all, sees_main
from dlrun.data.example_weights import counted
from dlrun.data.examples import Data, Shape, Split
from dlrun.data.misfits import wrong_classes, wrong_shape
from dlrun.data.trees import Tree, main_outputs, single

usual_loss = "cross_entropy"
UNBALANCED = 3.0  # largest class over smallest, above which accuracy misleads


def classification(data: Data, loss: LossPart) -> Classification:
    """One class for each example; targets are class numbers (n,)."""
    return Classification(data, loss)


class Classification(Task):
    """The outputs (n, k) are scores of the classes; the largest predicts (see Decision)."""

    decision: Decision
    metrics = ("accuracy",)
    plots = ("confusion_matrix",)

    def __init__(self, data: Data, loss: LossPart) -> None:
        super().__init__(data, loss)
        self.classes = data.classes
        self.decision = decision_of(loss, self.outputs, len(data.classes))
        self.positives = data.classes[1:] if len(data.classes) == 2 else ()

    def usual_outputs(self) -> int:
        return len(self.data.classes)

    def output_shape(self) -> Shape:
        return (self.outputs,)

    def made_up_targets(self, n: int) -> Tensor:
        return torch.zeros(n, dtype=torch.long)

    def soften(self, targets: Tree) -> Tensor:
        """The shares of the classes (n, classes): 1 for the class of an example."""
        return one_hot(single(targets, "the targets"), torch.empty(0, len(self.classes)))

    def misfit(self, targets: Tree) -> str:
        targets = single(targets, "the targets")
        return wrong_shape(targets, (), "a class number for each example is (n)") or wrong_classes(
            targets, len(self.classes)
        )

    def log_odds(self, outputs: Tensor) -> Tensor:
        return self.decision.log_odds(outputs).unsqueeze(-1)

    def applies(self, targets: Tensor) -> Tensor:
        return targets.unsqueeze(1) == 1

    def decided_by(self, thresholds: Mapping[str, float]) -> Self:
        threshold = thresholds[self.positives[0]] if thresholds else None
        found = copy(self)
        found.decision = replace(self.decision, threshold=threshold)
        return found

    def metric(self, metric: Metric) -> Metric:
        """The metric of the scores that predict the class, so that all metrics judge one prediction."""
        judged = sees_main(metric, seen_by(metric, self.decision))
        return replace(
            judged,
            measure=lambda outputs, targets: judged.measure(outputs, _classes(targets)),
            by_threshold=metric.sees == "outputs" and self.decision.threshold is not None,
        )

    def guesses(self, training: Split, split: Split) -> dict[str, Tensor]:
        """The constant model whose probabilities are the shares of the classes in training.

        With `class_weight` there is a second one, of the shares that they have in the loss.
        """
        counts, judged = map(self.class_counts, (training, split))
        constants = constant_guesses(counts, judged, self.loss, self.decision)
        return {name: guess_for_all(constant, split) for name, constant in constants.items()}

    def class_counts(self, split: Split) -> Tensor:
        return counted(split.targets, split.weights, len(self.classes))

    def report(self, copies: int) -> Confusions:
        return Confusions(self.classes, self.decision, copies)

    def row(self, outputs: Tensor) -> dict[str, Any]:
        """`class`, `probability` and the `probabilities` of all classes, as means over copies."""
        shares = self.decision.probabilities(outputs).mean(0)
        winner = int(self.decision.decide_together(outputs))
        row: dict[str, Any] = {"class": self.classes[winner], "probability": float(shares[winner])}
        if len(outputs) > 1:
            row["seeds_agreeing"] = int((self.decision.decide(outputs) == winner).sum())
        return row | {"probabilities": dict(zip(self.classes, shares.tolist(), strict=True))}

    def answers(self, outputs: Tree) -> dict[str, Tensor]:
        """`probabilities` (n, classes), and `class` (n,), the number of the predicted one."""
        main = main_outputs(outputs)
        shares = self.decision.probabilities(main).mean(0)
        return {"probabilities": shares, "class": self.decision.decide_together(main)}

    def truth(self, target: Tensor) -> dict[str, Any]:
        return {"true": self.classes[int(target)]}

    def facts(self, split: Split) -> dict[str, Any]:
        return {"classes": dict(zip(self.classes, self._counts(split), strict=True))}

    def warnings(self, training: Split) -> Iterator[str]:
        counts = self._counts(training)
        most, least = (pick(range(len(counts)), key=counts.__getitem__) for pick in (max, min))
        if counts[most] >= UNBALANCED * counts[least]:
            names = self.classes
            yield (
                f"the classes are unbalanced: {counts[most]:,} examples of {names[most]}, "
                f"{counts[least]:,} of {names[least]}"
            )

    def _counts(self, split: Split) -> list[int]:
        counts: list[int] = torch.bincount(split.targets, minlength=len(self.classes)).tolist()
        return counts


def _classes(targets: Tree) -> Tensor:
    """The class of each target (n,): of shares of classes (n, classes), as mixup makes them, the largest."""
    targets = single(targets, "the targets")
    return targets.argmax(1) if targets.is_floating_point() else targets
