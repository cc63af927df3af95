"""Negative log likelihood of outputs that are log-probabilities already."""

from __future__ import annotations

from torch import Tensor

from dlrun.data import Data
from dlrun.loss._classes import one_output_per_class

task = "classification"


def nll(outputs: Tensor, targets: Tensor) -> Tensor:
    """Minus the log-probability of the true class, in nats.

    `outputs` are log-probabilities of shape (n, classes), such as log_softmax gives, `targets` class
    numbers of shape (n,); gives (n,).
    """
    return -outputs.gather(1, targets.unsqueeze(1)).squeeze(1)


def outputs(data: Data) -> int:
    """One log-probability for each class."""
    return one_output_per_class(data)


def probabilities(outputs: Tensor) -> Tensor:
    """The probabilities whose logarithms the outputs are."""
    return outputs.exp()
