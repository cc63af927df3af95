"""Ranges: minimum, maximum, mean and standard deviation, summed chunk by chunk."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Ranges:
    """Minimum, maximum, mean and standard deviation of each element of an input, updated chunk by chunk."""

    def __init__(self) -> None:
        self.count = 0
        self.low: Tensor | None = None

    def add(self, inputs: Tensor, weights: Tensor | None = None) -> None:
        """Add inputs (n, …), each as often as its weight (n,) says; missing values (nan) are ignored."""
        values = inputs.to(torch.float64)
        there = ~values.isnan()
        low = values.nan_to_num(math.inf, math.inf, -math.inf).amin(0)
        high = values.nan_to_num(-math.inf, math.inf, -math.inf).amax(0)
        filled = values.nan_to_num(0.0)
        if self.low is None:
            self.low, self.high = low, high
            # Sums of centred values, so that the variance is not a small difference of large numbers.
            self.centre = filled.sum(0) / there.sum(0).clamp_min(1)
            self.there = torch.zeros_like(low)
            self.sum, self.squares = torch.zeros_like(low), torch.zeros_like(low)
        self.low, self.high = self.low.minimum(low), self.high.maximum(high)
        centred = torch.where(there, filled - self.centre, 0.0)
        if weights is None:
            self.there += there.sum(0)
            self.sum += centred.sum(0)
            self.squares += centred.square().sum(0)
            return
        each = weights.double().view(-1, *[1] * (values.dim() - 1))
        self.there += (there * each).sum(0)
        self.sum += (centred * each).sum(0)
        self.squares += (centred.square() * each).sum(0)

    def each(self) -> list[dict[str, float]]:
        """The statistics of each element, in order."""
        assert self.low is not None, "nothing was added"
        shift = self.sum / self.there
        mean, sd = self.centre + shift, (self.squares / self.there - shift.square()).clamp_min(0).sqrt()
        columns = (t.flatten().tolist() for t in (self.low, mean, sd, self.high))
        return [
            dict(zip(("min", "mean", "sd", "max"), row, strict=True)) for row in zip(*columns, strict=True)
        ]

    def whole(self) -> dict[str, float]:
        """The statistics of all elements together."""
        assert self.low is not None, "nothing was added"
        total = self.there.sum()
        mean = (self.centre * self.there + self.sum).sum() / total
        from_mean = self.centre - mean
        squares = self.squares + 2 * from_mean * self.sum + from_mean.square() * self.there
        found = (self.low.min(), mean, (squares.sum() / total).clamp_min(0).sqrt(), self.high.max())
        return dict(zip(("min", "mean", "sd", "max"), map(float, found), strict=True))
