"""The decision for a class: one rule behind every accuracy, confusion, prediction and picture of a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dlrun.data.example_weights import wide

_TRIED = 256  # made-up outputs on which two rules are compared
_LEAST = 1e-300  # probabilities below it have the same logarithm


@dataclass(frozen=True)
class Decision:
    """The rule by which a class is predicted from the outputs (…, k) of a model.

    The class is that of the largest output; for two classes and a single logit, (…, 1), class 1 if it is
    above 0. It is never taken from probabilities, which rounding makes equal, unless the loss states
    `probabilities` whose largest is at another class than the largest output. With a `threshold` of two
    classes it is class 1 if its probability is above that.
    """

    classes: int
    outputs: int
    probabilities: Callable[[Tensor], Tensor]  # (…, k) -> (…, classes)
    threshold: float | None = None

    def scores(self, outputs: Tensor) -> Tensor:
        """Figures (…, classes) whose largest is at the predicted class: metrics are given them."""
        if self.threshold is not None:
            above = self.log_odds(outputs) - log_odds_of(self.threshold)
            return torch.stack([torch.zeros_like(above), above], -1)
        if self.is_by_probability:
            return self._logarithms(outputs)
        return torch.cat([torch.zeros_like(outputs), outputs], -1) if self.outputs == 1 else outputs

    def log_probabilities(self, outputs: Tensor) -> Tensor:
        """The logarithms (…, classes) of the probabilities, finite even where these are rounded to 0."""
        return outputs.log_softmax(-1) if self.probabilities is softmax else self._logarithms(outputs)

    def log_odds(self, outputs: Tensor) -> Tensor:
        """The log odds (…,) of class 1 of two, log p / (1 - p) of its probability p, in float64."""
        of_class_0, of_class_1 = self.log_probabilities(wide(outputs)).unbind(-1)
        return of_class_1 - of_class_0

    def decide(self, outputs: Tensor) -> Tensor:
        """The predicted classes (…,)."""
        return self.scores(outputs).argmax(-1)

    @property
    def are_scores(self) -> bool:
        """True if the outputs are the scores themselves."""
        return self.outputs == self.classes and self.threshold is None and not self.is_by_probability

    def decide_together(self, outputs: Tensor) -> Tensor:
        """The classes (…,) that copies predict together, from their outputs (copies, …, k).

        It is the class with the largest mean probability; of equal ones, that of most copies. With a
        threshold it is class 1 if its mean probability is above that.
        """
        classes = self.decide(outputs)
        if len(outputs) == 1:
            return classes[0]
        if self.threshold is not None:
            return (self.probabilities(wide(outputs))[..., 1].mean(0) > self.threshold).long()
        means = self.probabilities(outputs).mean(0)
        votes = torch.nn.functional.one_hot(classes, self.classes).sum(0)
        return torch.where(means == means.amax(-1, keepdim=True), votes, -1).argmax(-1)

    @cached_property
    def is_by_probability(self) -> bool:
        """True if the loss states probabilities that rank classes otherwise than the outputs do."""
        if self.outputs not in (1, self.classes):
            return True
        made_up = 3 * torch.randn(_TRIED, self.outputs, generator=torch.Generator().manual_seed(0))
        by_output = made_up.argmax(-1) if self.outputs > 1 else (made_up.squeeze(-1) > 0).long()
        shares = self.probabilities(made_up.double())
        of_chosen = shares.gather(-1, by_output.unsqueeze(-1)).squeeze(-1)
        return not bool((of_chosen == shares.amax(-1)).all())

    @cached_property
    def are_log_probabilities(self) -> bool:
        """True if the outputs are the logarithms of the probabilities."""
        if self.outputs != self.classes:
            return False
        made_up = torch.linspace(-3, 3, 4 * self.outputs).view(4, -1)
        return torch.allclose(self.probabilities(made_up), made_up.exp())

    def _logarithms(self, outputs: Tensor) -> Tensor:
        # float64, so that as few probabilities as possible are rounded to the same number
        return self.probabilities(wide(outputs)).clamp_min(_LEAST).log()


def log_odds_of(probability: float) -> float:
    """The log odds of a probability between 0 and 1."""
    return math.log(probability / (1 - probability))


def two_sigmoids(outputs: Tensor) -> Tensor:
    """The probabilities (…, 2) of two classes from a single logit (…, 1) of class 1."""
    return torch.cat([torch.sigmoid(-outputs), torch.sigmoid(outputs)], -1)


def softmax(outputs: Tensor) -> Tensor:
    """The softmax over the last axis."""
    return outputs.softmax(-1)
