"""Classification with a right to abstain: an uncertain prediction is not counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dlrun.blocks.class_reports import Confusions
from dlrun.blocks.decisions import Decision
from dlrun.blocks.tasks import LossPart
from dlrun.data import Data
from dlrun.data.trees import Tree, main_outputs, single
from dlrun.task.classification import Classification

parts_of = "classification"  # losses and metrics that are for a classification serve this task too
LEAST = 0.8  # the probability from which on a prediction counts; a task has no options


def my_part(data: Data, loss: LossPart) -> Classification:
    """One class for each example, or none: one with a probability below LEAST does not count.

    A task is `x(data, loss) -> Task`, a class that says what the outputs mean. This one inherits all of a
    classification, and refines two methods. All of them are in dlrun/blocks/tasks.py.
    """
    return Abstaining(data, loss)


class Abstaining(Classification):
    def report(self, copies: int) -> Confusions:
        """The figures that `dlrun eval` adds."""
        return Answers(self.classes, self.decision, copies)

    def row(self, outputs: Tensor) -> dict[str, Any]:
        """A row of `dlrun predict`, from the outputs (copies, classes) for one input."""
        row = super().row(outputs)
        return row if row["probability"] >= LEAST else row | {"class": "undecided"}


class Answers(Confusions):
    """The share of examples with an answer, and the accuracy of the answers, of each copy."""

    def __init__(self, classes: Sequence[str], decision: Decision, copies: int) -> None:
        super().__init__(classes, decision, copies)
        self.answers = torch.zeros(2, copies, dtype=torch.float64)  # all and the right ones

    def add(self, outputs: Tree, targets: Tree, weights: Tensor | None = None) -> None:
        """Add a batch: outputs (copies, batch, classes), targets and weights (copies, batch)."""
        super().add(outputs, targets, weights)
        given, true = main_outputs(outputs), single(targets)
        answered = self.decision.probabilities(given).amax(-1) >= LEAST
        right = answered & (self.decision.decide(given) == true)
        each = torch.ones_like(true) if weights is None else weights.double()
        self.answers += torch.stack([(each * answered).sum(1), (each * right).sum(1)]).cpu()

    def figures(self) -> dict[str, list[float]]:
        """A figure for each copy, by name."""
        answered, right = self.answers
        shares = {"answered": answered / self.counts.sum((1, 2)), "accuracy_of_answers": right / answered}
        return super().figures() | {name: values.tolist() for name, values in shares.items()}
