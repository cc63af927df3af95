"""Average precision: the area under the curve of precision over recall."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.blocks.rankings import above_each, one_against_the_rest

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
    each = [_of_class(*own, weights) for own in one_against_the_rest(log_probabilities, targets)]
    return torch.stack(each).mean() if each else torch.tensor(torch.nan)


def _of_class(scores: Tensor, applies: Tensor, weights: Tensor | None) -> Tensor:
    hits, others = above_each(scores, applies, weights)
    gained = torch.diff(hits, prepend=hits.new_zeros(1)) / hits[-1]
    return (gained * hits / (hits + others)).sum()
