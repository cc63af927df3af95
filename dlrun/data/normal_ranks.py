"""Numbers as the normal quantiles of their ranks among some training ones, and back."""

from __future__ import annotations

import torch
from torch import Tensor


def normal_ranks(values: Tensor, quantiles: Tensor) -> Tensor:
    """The standard normal quantile of the rank of each number (…, k) among quantiles (k, q) of its column.

    Ranks between two quantiles are interpolated; a number that several of them equal has their middle rank.
    The first and the last rank are half a step from 0 and 1, so that no number becomes infinite; beyond the
    quantiles all have these. nan stays nan.
    """
    last = quantiles.shape[1] - 1
    columns = values.reshape(-1, values.shape[-1]).T.to(quantiles.dtype).contiguous()  # (k, n)
    below = torch.searchsorted(quantiles, columns).clamp(max=last)
    above = (torch.searchsorted(quantiles, columns, right=True) - 1).clamp(min=0)
    low, high = quantiles.gather(1, above), quantiles.gather(1, below)
    share = torch.where(high > low, (columns - low) / (high - low), 0.5)
    ranks = (above + share * (below - above)) / last
    end = _end(quantiles)
    scores = torch.special.ndtri(ranks.clamp(end, 1 - end))
    scores = torch.where(columns.isnan(), columns, scores)
    return scores.T.reshape(values.shape).to(values.dtype)


def of_normal_ranks(scores: Tensor, quantiles: Tensor) -> Tensor:
    """The numbers (…, k) that `normal_ranks` gives some scores; of ends, the first and the last quantile."""
    last = quantiles.shape[1] - 1
    columns = scores.reshape(-1, scores.shape[-1]).T.to(quantiles.dtype)
    ranks, end = torch.special.ndtr(columns), _end(quantiles) * (1 + 1e-5)  # scores may be rounded
    ranks = torch.where(ranks <= end, 0.0, torch.where(ranks >= 1 - end, 1.0, ranks)) * last
    start = torch.nan_to_num(ranks).floor().long().clamp(0, last - 1)
    low, high = quantiles.gather(1, start), quantiles.gather(1, start + 1)
    return (low + (ranks - start) * (high - low)).T.reshape(scores.shape).to(scores.dtype)


def are_quantiles(quantiles: Tensor, columns: Tensor, features: int) -> bool:
    """True if quantiles (k, q) of some columns (k,) of inputs (…, features) are finite and ascend."""
    if quantiles.dim() != 2 or columns.dtype != torch.int64 or columns.shape != quantiles.shape[:1]:
        return False
    if not quantiles.is_floating_point() or quantiles.shape[1] < 2 or columns.unique().numel() < len(columns):
        return False
    steps = quantiles.diff(dim=1)
    is_inside = bool(((columns >= 0) & (columns < features)).all())
    return (
        is_inside
        and all(bool(each.isfinite().all()) for each in (quantiles, steps))
        and bool((steps >= 0).all())
    )


def _end(quantiles: Tensor) -> float:
    return 0.5 / quantiles.shape[1]
