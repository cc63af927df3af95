"""Ranks: of the true class among the scores of all classes, and of examples by their scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor


def is_among_largest(outputs: Tensor, targets: Tensor, k: int) -> Tensor:
    """True where the true class is among the k largest outputs, (n,).

    `outputs` (n, classes), or (n, 1) for two classes, one logit that is above 0 for class 1; `targets` (n,).
    """
    if outputs.shape[1] == 1:
        outputs = torch.cat([torch.zeros_like(outputs), outputs], 1)
    largest = outputs.topk(min(k, outputs.shape[1]), 1).indices
    return (largest == targets.unsqueeze(1)).any(1)


def mean_over_classes(
    area: Callable[[Tensor, Tensor], Tensor], logarithms: Tensor, targets: Tensor, weights: Tensor | None
) -> Tensor:
    """The mean, (), of an `area` for each class against all others; nan if no class has both.

    `area` is given what `above_each` gives.
    """
    each = [area(*above_each(*own, weights)) for own in one_against_the_rest(logarithms, targets)]
    return torch.stack(each).mean() if each else torch.tensor(torch.nan)


def one_against_the_rest(logarithms: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield for each class a score (n,) and True for its examples (n,); of two classes for the second.

    `logarithms` are those of probabilities, (n, classes) with targets (n,), or of labels (n, labels) with
    targets (n, labels). The score of a class is the logarithm of its odds, which tells apart probabilities
    that are all rounded to 1. A class of all examples or of none is left out.
    """
    if targets.dim() == logarithms.dim():
        each = zip(logarithms.T, targets.T > 0.5, strict=True)
    else:
        classes = range(0 if logarithms.shape[1] != 2 else 1, logarithms.shape[1])
        each = ((_log_odds(logarithms, k), targets == k) for k in classes)  # type: ignore[assignment]
    for scores, applies in each:
        if bool(applies.any()) and not bool(applies.all()):
            yield scores, applies


def _log_odds(logarithms: Tensor, k: int) -> Tensor:
    """The logarithm of p / (1 - p) of a class, (n,), from the logarithms (n, classes) of all p."""
    others = torch.cat([logarithms[:, :k], logarithms[:, k + 1 :]], 1)
    return logarithms[:, k] - others.logsumexp(1)


def above_each(scores: Tensor, applies: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """The weight of the examples (n,) with at least each score: those to which the class applies, and others.

    Both are for each different score, from the highest down, in float64.
    """
    order = scores.argsort(descending=True)
    ordered = scores[order]
    last = torch.ones(len(order), dtype=torch.bool)
    last[:-1] = ordered[1:] != ordered[:-1]
    own = torch.ones(len(order), dtype=torch.float64) if weights is None else weights.double()[order]
    hits = torch.where(applies[order], own, 0).cumsum(0)[last]
    return hits, own.cumsum(0)[last] - hits


def ranks(values: Tensor) -> Tensor:
    """The rank of each value (n,), counted from 0; equal values share the mean of theirs."""
    _, places, counts = values.unique(return_inverse=True, return_counts=True)
    ends = counts.cumsum(0).double()
    found: Tensor = (ends - (counts + 1) / 2)[places]
    return found
