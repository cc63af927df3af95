"""The Brier score: the squared error of the predicted probabilities."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import one_hot

task = "classification"
better = "lower"


def brier(probabilities: Tensor, targets: Tensor) -> Tensor:
    """The squared difference of probabilities and truth (0 or 1), summed over classes; of two, halved.

    `probabilities` (n, classes), `targets` (n,); gives (n,), from 0 to 2, or to 1 for two classes, of which
    it is the squared error of either one. Source: Brier 1950.
    """
    errors = (probabilities - one_hot(targets, probabilities.shape[1])).square().sum(1)
    return errors / 2 if probabilities.shape[1] == 2 else errors
