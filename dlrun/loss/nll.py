"""Negative log likelihood of outputs that are log-probabilities."""

from __future__ import annotations

from torch import Tensor

from dlrun.blocks.classes import one_output_per_class

task = "classification"
outputs = one_output_per_class


def nll(outputs: Tensor, targets: Tensor) -> Tensor:
    """Minus the log-probability of the true class, in nats.

    `outputs` are log-probabilities of shape (n, classes), such as log_softmax gives, `targets` class
    numbers of shape (n,), or shares of classes (n, classes), over which it is a mean; gives (n,).
    """
    if targets.dim() > 1:
        return -(targets * outputs).sum(1)
    return -outputs.gather(1, targets.unsqueeze(1)).squeeze(1)


def probabilities(outputs: Tensor) -> Tensor:
    """The exponentials of the outputs, which are log-probabilities."""
    return outputs.exp()
