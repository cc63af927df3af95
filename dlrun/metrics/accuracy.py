"""The share of examples whose class is predicted correctly."""

from __future__ import annotations

from torch import Tensor

task = "classification"


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """True if the largest output is that of the true class.

    `outputs` (n, classes), or for two classes one logit (n, 1), which is above 0 for class 1; `targets`
    (n,). Gives (n,).
    """
    predicted = outputs.argmax(1) if outputs.shape[1] > 1 else outputs.squeeze(1) > 0
    return predicted == targets
