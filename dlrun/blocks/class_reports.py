"""Reports over classes: confusion matrices, figures of each class, the outputs of a constant model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from dlrun.blocks.decisions import Decision, softmax, two_sigmoids
from dlrun.blocks.loss_trials import refuse_other_classes
from dlrun.blocks.tasks import LossPart, Metric, Report
from dlrun.data.example_weights import wide
from dlrun.data.trees import Tree, main_outputs, single
from dlrun.errors import UserError

_MOST_PAIRS = 5  # of classes, in a report
_RARE = 1e-12  # the share of a class without examples in the outputs of a constant model
_CLOSE = 1e-3  # between the shares of the classes and the probabilities of a constant model


def decision_of(loss: LossPart, outputs: int, classes: int) -> Decision:
    """The rule that predicts one of the classes from so many outputs of a loss.

    Raises UserError if neither the loss nor their number says which probabilities they stand for.
    """
    if loss.probabilities:
        probabilities = loss.probabilities
    elif loss.make:
        what = f"{loss.name} has weights of its own, on which the probabilities of the classes may depend"
        fix = "define probabilities(outputs) in its file; what they depend on belongs to the architecture"
        raise UserError(what, fix=fix)
    elif outputs == classes:
        probabilities = softmax
    elif outputs == 1 and classes == 2:
        probabilities = two_sigmoids
    else:
        what = f"{loss.name} takes {outputs} outputs for {classes} classes"
        raise UserError(what, fix="define probabilities(outputs) in its file")
    shares: object = probabilities(torch.zeros(2, outputs))
    if not isinstance(shares, Tensor) or shares.shape != (2, classes):
        shape = tuple(shares.shape) if isinstance(shares, Tensor) else type(shares).__name__
        wanted = f"for outputs of shape (2, {outputs}) it needs (2, {classes})"
        raise UserError(f"probabilities() of {loss.name} gives {shape}: {wanted}")
    decision = Decision(classes, outputs, probabilities)
    if not loss.probabilities:
        refuse_other_classes(loss, decision)
    return decision


def seen_by(metric: Metric, decision: Decision) -> Callable[[Tensor], Tensor] | None:
    """The change of outputs (…, k) into what a metric sees; None: the outputs themselves."""
    if metric.sees == "probabilities":
        return decision.probabilities
    if metric.sees == "log_probabilities":
        return decision.log_probabilities
    return None if decision.are_scores else decision.scores


def constant_guesses(counts: Tensor, judged: Tensor, loss: LossPart, decision: Decision) -> dict[str, Tensor]:
    """The outputs (k,) of constant models, by their names: the arguments are those of `constant_outputs`.

    If classes have weights in the loss, the shares that each has of these are a second one.
    """
    found = {"class prior": constant_outputs(counts, judged, loss, decision)}
    if loss.class_weights and loss.class_weights.values:
        each = loss.class_weights.of(torch.arange(len(counts), device=counts.device), wide(counts))
        if not torch.equal(each, each[:1].expand_as(each)):
            found["weighted class prior"] = constant_outputs(counts * each, judged * each, loss, decision)
    return found


def constant_outputs(counts: Tensor, judged: Tensor, loss: LossPart, decision: Decision) -> Tensor:
    """The outputs (k,) whose probabilities are the shares of the classes in training.

    From their `counts` (classes,) there, and in the split that is `judged`. Raises UserError if the loss
    leaves these outputs open, or if a class of that split never occurs in training.
    """
    if bool(((counts == 0) & (judged > 0)).any()):
        raise UserError("a class that training lacks has the share 0 there, and no finite loss")
    shares = counts.float() / counts.sum()
    constant = (loss.constant or _logits(decision.outputs))(shares.clamp_min(_RARE))
    if constant.shape != (decision.outputs,):
        what = f"constant() of {loss.name} gives shape {tuple(constant.shape)}"
        raise UserError(f"{what}, but the outputs are ({decision.outputs},)")
    if not torch.allclose(decision.probabilities(constant), shares, rtol=0.0, atol=_CLOSE):
        fix = "define constant(shares), the outputs whose probabilities are these shares, in its file"
        raise UserError(f"{loss.name} states no outputs for the shares of the classes", fix=fix)
    return constant


def _logits(outputs: int) -> Callable[[Tensor], Tensor]:
    if outputs == 1:
        return lambda shares: torch.logit(shares[1:], eps=1e-6)
    return torch.log


class Confusions(Report):
    """The confusion matrix of each copy, and the mean entropy of its predictions.

    Each example counts as often as its weight says, so that accuracy is the trace of the matrix over its sum.
    """

    def __init__(self, classes: Sequence[str], decision: Decision, copies: int) -> None:
        self.classes, self.decision = classes, decision
        self.counts = torch.zeros(copies, len(classes), len(classes), dtype=torch.long)
        self.bits = torch.zeros(copies, dtype=torch.float64)
        self.examples: Tensor | None = None  # (classes,) of each true class, where they have weights

    def add(self, outputs: Tree, targets: Tree, weights: Tensor | None = None) -> None:
        each = weights if weights is not None else [None] * len(self.counts)
        for index, own in enumerate(zip(main_outputs(outputs), single(targets), each, strict=True)):
            self.add_copy(index, *own)

    def add_copy(self, index: int, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> None:
        """Add the outputs (n, k) of one copy, the targets (n,) and the weights (n,)."""
        shares, classes = self.decision.probabilities(outputs), len(self.classes)
        cells = (targets * classes + self.decision.decide(outputs)).cpu()
        if weights is None:
            self.bits[index] -= torch.special.xlogy(shares, shares).sum().cpu() / math.log(2)
            self.counts[index] += torch.bincount(cells, minlength=classes**2).view(classes, classes)
            return
        if self.examples is None:
            self.counts, self.examples = self.counts.double(), torch.zeros(classes, dtype=torch.long)
        own = weights.cpu().double()
        self.bits[index] -= (torch.special.xlogy(shares, shares).sum(1).cpu() * own).sum() / math.log(2)
        self.counts[index] += torch.bincount(cells, own, minlength=classes**2).view(classes, classes)
        if index == 0:
            self.examples += torch.bincount(targets.cpu(), minlength=classes)

    def figures(self) -> dict[str, list[float]]:
        """The mean predictive entropy in bits."""
        return {"entropy_bits": (self.bits / self.counts.sum((1, 2))).tolist()}

    def sections(self, seeds: list[int]) -> dict[str, Any]:
        """Figures of each class, the pairs most often confused, and the confusion matrix of each seed.

        Its rows are true classes, its columns predicted ones.
        """
        of_seeds = zip(seeds, self.counts.tolist(), strict=True)
        return {
            "per_class": per_class(self.counts, self.classes, self.examples),
            "most_confused": most_confused(self.counts, self.classes),
            "confusion": {str(seed): counts for seed, counts in of_seeds},
        }


def most_confused(confusion: Tensor, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The pairs of a true and another predicted class with the most examples, a mean over seeds.

    From counts (copies, classes, classes), rows true, columns predicted.
    """
    means = confusion.double().mean(0).fill_diagonal_(0)
    counts, cells = means.flatten().sort(descending=True, stable=True)
    pairs = [divmod(cell, len(classes)) for cell in cells[:_MOST_PAIRS].tolist()]
    return [
        {"true": classes[true], "predicted": classes[predicted], "count": count}
        for (true, predicted), count in zip(pairs, counts.tolist(), strict=False)
        if count
    ]


def per_class(
    confusion: Tensor, classes: Sequence[str], examples: Tensor | None = None
) -> dict[str, dict[str, float | int | None]]:
    """The `rates` of each class, from counts (copies, classes, classes), rows true, columns predicted."""
    right, predicted, true = confusion.diagonal(dim1=1, dim2=2), confusion.sum(1), confusion.sum(2)
    return rates(right, predicted, true, classes, examples)


def rates(
    right: Tensor, predicted: Tensor, true: Tensor, names: Sequence[str], examples: Tensor | None = None
) -> dict[str, dict[str, float | int | None]]:
    """Precision, recall and F1 of each class, means over copies; None if undefined (division by zero).

    The examples (copies, classes) of a class that were rightly predicted, predicted, and that are of it. If
    these are sums of weights, `examples` (classes,) has their number, and the `weight` is an entry too.
    """
    right, predicted, true = right.double(), predicted.double(), true.double()
    figures = {"precision": right / predicted, "recall": right / true, "f1": 2 * right / (true + predicted)}
    return {
        name: {figure: _mean_or_none(values[:, index].tolist()) for figure, values in figures.items()}
        | (
            {"examples": int(true[0, index])}
            if examples is None
            else {"examples": int(examples[index]), "weight": float(true[0, index])}
        )
        for index, name in enumerate(names)
    }


def _mean_or_none(values: list[float]) -> float | None:
    return None if any(math.isnan(value) for value in values) else fmean(values)
