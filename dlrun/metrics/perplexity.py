"""Perplexity: the number of equally probable classes that would be as hard to guess."""

from __future__ import annotations

import math

from torch import Tensor

task = "classification"
better = "lower"


def perplexity(log_probabilities: Tensor, targets: Tensor) -> Tensor:
    """Minus the logarithm of the probability of the true class, in nats, whose exponential is the perplexity.

    `log_probabilities` (n, classes), `targets` (n,); gives (n,). A model of a text has an example for each of
    its tokens.
    """
    return -log_probabilities.gather(1, targets.unsqueeze(1)).squeeze(1)


def finish(means: list[float]) -> float:
    """The exponential of the mean; infinite where no float could hold it, nan of nan."""
    return math.inf if means[0] >= 700 else math.exp(means[0])
