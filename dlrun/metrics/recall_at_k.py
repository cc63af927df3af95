"""Recall@k of embeddings."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.config.options import Count

task = "embedding"
whole = True
_AT_ONCE = 1024  # examples whose distances to all others are in memory


def recall_at_k(outputs: Tensor, targets: Tensor, *, k: Count = 1) -> Tensor:
    """The share of examples that have one of their class among their k nearest neighbours, from 0 to 1.

    Neighbours are the other examples of the split by their Euclidean distances, which order embeddings of
    length 1 as cosines do. Among equally distant ones it is the share over all orders, so that embeddings
    that all coincide are no better than chance. An example without another of its class does not count; nan
    if none does. `outputs` (n, d), `targets` (n,). Source: Oh Song et al. 2016, arXiv 1511.06452.

    Args:
        k: Neighbours that are looked at; 1 is the accuracy of the nearest neighbour's class.
    """
    points, found, nearest = outputs.double(), list[Tensor](), min(k, len(outputs) - 1)
    for some in torch.arange(len(points)).split(_AT_ONCE):
        distances = torch.cdist(points[some], points)
        own = torch.arange(len(some)), some
        alike = targets[some].unsqueeze(1) == targets
        distances[own], alike[own] = torch.inf, False
        counts = alike.any(1)
        if nearest < 1 or not bool(counts.any()):
            continue
        last = distances.topk(nearest, largest=False).values[:, -1:]
        closer, tied = distances < last, distances == last
        missed = _none_drawn(tied.sum(1), (tied & alike).sum(1), nearest - closer.sum(1))
        found.append((1 - torch.where((closer & alike).any(1), 0.0, missed))[counts])
    return torch.cat(found).mean() if found else torch.tensor(torch.nan)


def _none_drawn(there: Tensor, wanted: Tensor, drawn: Tensor) -> Tensor:
    """The probability that none of the `wanted` among those that are `there` is drawn."""
    others = (there - wanted).double()
    logarithm = (
        torch.lgamma(others + 1)
        + torch.lgamma((there - drawn).double() + 1)
        - torch.lgamma((others - drawn).clamp_min(0) + 1)
        - torch.lgamma(there.double() + 1)
    )
    return torch.where(others < drawn, 0.0, logarithm.exp())
