"""AUROC: the area under the receiver operating characteristic."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.blocks.rankings import mean_over_classes

task = ("classification", "multilabel")
whole = True


def auroc(log_probabilities: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """The probability that an example of a class scores higher than one of another (ROC AUC).

    Ties count half; 0.5 is chance.

    `log_probabilities` (n, classes) with targets (n,), or of labels (n, labels) with targets (n, labels),
    perhaps with the `weights` (n,) of the examples. Of two classes it is that of the second, else the mean of
    each class against all others. A class of all examples or of none is left out; without another one it is
    nan. Source: Fawcett 2006.
    """
    return mean_over_classes(_of_class, log_probabilities, targets, weights)


def _of_class(hits: Tensor, others: Tensor) -> Tensor:
    shares, false = hits / hits[-1], others / others[-1]
    return torch.trapezoid(torch.cat([shares.new_zeros(1), shares]), torch.cat([false.new_zeros(1), false]))
