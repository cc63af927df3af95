"""Classification: one class for each example."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from dlrun.blocks.decisions import Decision, softmax, two_sigmoids
from dlrun.blocks.tasks import LossPart
from dlrun.data.examples import Data
from dlrun.data.misfits import wrong_classes, wrong_shape
from dlrun.errors import UserError

UNBALANCED = 3.0  # largest class over smallest, above which accuracy misleads
_RARE = 1e-12  # the share of a class without examples in the outputs of a constant model
_CLOSE = 1e-3  # between the shares of the classes and the probabilities of a constant model


def classification(data: Data, loss: LossPart) -> Classification:
    """One class for each example; targets are class numbers (n,)."""
    return Classification(data, loss)


class Classification:
    """The outputs (n, k) are scores of the classes; the largest predicts (see Decision)."""

    are_estimates = False
    metrics = ("accuracy",)
    plots = ("confusion_matrix",)

    def __init__(self, data: Data, loss: LossPart) -> None:
        self.classes, self._loss = data.classes, loss
        self.outputs = loss.outputs(data) if loss.outputs else len(data.classes)
        self.decision = Decision(len(data.classes), self.outputs, self._probabilities())
        shares = self.decision.probabilities(torch.zeros(2, self.outputs))
        if not isinstance(shares, Tensor) or shares.shape != (2, len(data.classes)):
            shape = tuple(shares.shape) if isinstance(shares, Tensor) else type(shares).__name__
            wanted = f"for outputs of shape (2, {self.outputs}) it needs (2, {len(data.classes)})"
            raise UserError(f"probabilities() of {loss.name} gives {shape}: {wanted}")

    def _probabilities(self) -> Callable[[Tensor], Tensor]:
        if self._loss.probabilities:
            return self._loss.probabilities
        if self.outputs == len(self.classes):
            return softmax
        if self.outputs == 1 and len(self.classes) == 2:
            return two_sigmoids
        what = f"{self._loss.name} takes {self.outputs} outputs for {len(self.classes)} classes"
        raise UserError(what, fix="define probabilities(outputs) in its file")

    def targets(self, n: int) -> Tensor:
        return torch.zeros(n, dtype=torch.long)

    def misfit(self, targets: Tensor) -> str:
        return wrong_shape(targets, (), "a class number for each example is (n)") or wrong_classes(
            targets, len(self.classes)
        )

    def guesses(self, training: Tensor, n: int, aside: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The constant model whose probabilities are the shares of the classes in training."""
        counts = torch.bincount(training, minlength=len(self.classes))
        shares = counts.float() / len(training)
        constant = (self._loss.constant or self._logits)(shares.clamp_min(_RARE))
        if constant.shape != (self.outputs,):
            what = f"constant() of {self._loss.name} gives shape {tuple(constant.shape)}"
            raise UserError(f"{what}, but the outputs are ({self.outputs},)")
        if not torch.allclose(self.decision.probabilities(constant), shares, rtol=0.0, atol=_CLOSE):
            fix = "define constant(shares), the outputs whose probabilities are these shares, in its file"
            raise UserError(f"{self._loss.name} states no outputs for the shares of the classes", fix=fix)
        return {"majority class": constant.expand(n, -1)}

    def _logits(self, shares: Tensor) -> Tensor:
        return torch.logit(shares[1:], eps=1e-6) if self.outputs == 1 else shares.log()

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

    def facts(self, targets: Tensor) -> dict[str, Any]:
        return {"classes": dict(zip(self.classes, self._counts(targets), strict=True))}

    def warnings(self, training: Tensor) -> Iterator[str]:
        counts = self._counts(training)
        most, least = (pick(range(len(counts)), key=counts.__getitem__) for pick in (max, min))
        if counts[most] >= UNBALANCED * counts[least]:
            names = self.classes
            yield (
                f"the classes are unbalanced: {counts[most]:,} examples of {names[most]}, "
                f"{counts[least]:,} of {names[least]}"
            )

    def _counts(self, targets: Tensor) -> list[int]:
        counts: list[int] = torch.bincount(targets, minlength=len(self.classes)).tolist()
        return counts


class Confusions:
    """The confusion matrix of each copy, and the mean entropy of its predictions."""

    def __init__(self, classes: Sequence[str], decision: Decision, copies: int) -> None:
        self.classes, self.decision = classes, decision
        self.counts = torch.zeros(copies, len(classes), len(classes), dtype=torch.long)
        self.bits = torch.zeros(copies, dtype=torch.float64)

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        shares, classes = self.decision.probabilities(outputs), len(self.classes)
        self.bits += -torch.special.xlogy(shares, shares).sum((1, 2)).cpu() / math.log(2)
        for index, predicted in enumerate(self.decision.decide(outputs)):
            cells = (targets[index] * classes + predicted).cpu()
            self.counts[index] += torch.bincount(cells, minlength=classes**2).view(classes, classes)

    def figures(self) -> dict[str, list[float]]:
        """The mean predictive entropy in bits."""
        return {"entropy_bits": (self.bits / self.counts.sum((1, 2))).tolist()}

    def sections(self, seeds: list[int]) -> dict[str, Any]:
        """Figures of each class, and the confusion matrix of each seed, rows true and columns predicted."""
        of_seeds = zip(seeds, self.counts.tolist(), strict=True)
        return {
            "per_class": per_class(self.counts, self.classes),
            "confusion": {str(seed): counts for seed, counts in of_seeds},
        }


def per_class(confusion: Tensor, classes: Sequence[str]) -> dict[str, dict[str, float | int | None]]:
    """Precision, recall and F1 of each class, means over copies; None if undefined (division by zero).

    `confusion` (copies, classes, classes) holds counts, rows true, columns predicted.
    """
    right = confusion.diagonal(dim1=1, dim2=2).double()
    true, predicted = confusion.sum(2).double(), confusion.sum(1).double()
    figures = {"precision": right / predicted, "recall": right / true, "f1": 2 * right / (true + predicted)}
    return {
        name: {figure: _mean_or_none(values[:, index].tolist()) for figure, values in figures.items()}
        | {"examples": int(true[0, index])}
        for index, name in enumerate(classes)
    }


def _mean_or_none(values: list[float]) -> float | None:
    return None if any(math.isnan(value) for value in values) else fmean(values)
