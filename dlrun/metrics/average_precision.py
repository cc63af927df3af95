"""Average precision: the area under the curve of precision over recall."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.blocks.rankings import mean_over_classes

task = ("classification", "multilabel")
whole = True


def average_precision(log_probabilities: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """The mean precision at the rank of each example of a class (area under precision over recall).

    The share of the class is chance. Steps are not interpolated, as in scikit-learn.

    `log_probabilities` (n, classes) with targets (n,), or of labels (n, labels) with targets (n, labels),
    perhaps with the `weights` (n,) of the examples. Of two classes it is that of the second, else the mean of
    each class against all others. A class of all examples or of none is left out; without another one it is
    nan. Source: Zhu 2004.
    """
    return mean_over_classes(_of_class, log_probabilities, targets, weights)


def _of_class(hits: Tensor, others: Tensor) -> Tensor:
    gained = torch.diff(hits, prepend=hits.new_zeros(1)) / hits[-1]
    return (gained * hits / (hits + others)).sum()
