"""Log loss: the cross entropy of the predicted probabilities, whatever the loss of training is."""

from __future__ import annotations

from torch import Tensor

task = "classification"
better = "lower"


def log_loss(log_probabilities: Tensor, targets: Tensor) -> Tensor:
    """Minus the logarithm of the probability of the true class, in nats.

    `log_probabilities` (n, classes), `targets` (n,); gives (n,). Without class weights or label smoothing,
    which the loss of training may have.
    """
    return -log_probabilities.gather(1, targets.unsqueeze(1)).squeeze(1)
