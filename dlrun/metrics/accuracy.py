"""The share of examples whose class is predicted."""

from __future__ import annotations

from torch import Tensor

task = "classification"


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Whether the largest output is that of the true class; with one output, whether its sign is.

    `outputs` (n, classes), or (n, 1) for two classes, `targets` (n,); gives (n,).
    """
    predicted = outputs.argmax(1) if outputs.shape[1] > 1 else outputs.squeeze(1) > 0
    return predicted == targets
