"""What a few seeds can say of two settings: how far apart they are, and whether that is more than noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev, variance

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """How much larger the second of two settings is than the first: `mean` ± `margin`.

    The interval covers the true difference with the confidence that was asked for; `margin` is infinite
    where there are too few seeds to say. `n` counts the pairs, or where there are none the seeds of the
    setting that has fewer.
    """

    mean: float
    margin: float
    n: int
    is_paired: bool

    @property
    def is_known(self) -> bool:
        """Whether it is more than what chance alone would show."""
        return abs(self.mean) > self.margin


def difference(
    first: Mapping[int, float], second: Mapping[int, float], comparisons: int = 1
) -> Difference | None:
    """How much larger `second` is than `first`, each seed -> figure; None where one of them is empty.

    The same seed starts from the same weights and sees the same order, so two seeds or more that both have
    are compared pair by pair (Student, 1908); else the two means are (Welch, 1947). Of several
    `comparisons` all intervals hold at once (Bonferroni).
    """
    confidence = 1 - (1 - CONFIDENCE) / comparisons
    shared = sorted(first.keys() & second.keys())
    pairs = [second[seed] - first[seed] for seed in shared]
    if len(pairs) > 1:
        margin = quantile(confidence, len(pairs) - 1) * stdev(pairs) / math.sqrt(len(pairs))
        # A share of a few examples has few values, so a few pairs may well be equally far apart by chance.
        # Of their spread nothing is known then: as many on one side are what counts (the sign test).
        varies = any(len({each[seed] for seed in shared}) > 1 for each in (first, second))
        if any(pairs) and varies and is_rounding(pairs) and 2.0 ** (1 - len(pairs)) > 1 - confidence:
            margin = math.inf
        return Difference(fmean(pairs), margin, len(pairs), is_paired=True)
    if not first or not second:
        return None
    n = min(len(first), len(second))
    apart = fmean(second.values()) - fmean(first.values())
    if n < 2:
        return Difference(apart, math.inf, n, is_paired=bool(pairs))
    of_mean = [variance(each.values()) / len(each) for each in (first, second)]
    margin = quantile(confidence, _welch(of_mean, [len(first), len(second)])) * math.sqrt(sum(of_mean))
    return Difference(apart, margin, n, is_paired=False)


def is_rounding(values: Sequence[float]) -> bool:
    """Whether values are the same but for the last digits of a double."""
    return max(values) - min(values) <= 1e-12 * max(map(abs, values))


def _welch(of_mean: list[float], n: list[int]) -> int:
    """The degrees of freedom for the difference of two means with these variances, rounded down."""
    if not sum(of_mean):
        return min(n) - 1
    shares = [variance / sum(of_mean) for variance in of_mean]
    return max(min(n) - 1, int(1 / sum(s**2 / (m - 1) for s, m in zip(shares, n, strict=True))))


def quantile(confidence: float, degrees: int) -> float:
    """The t with P(|T| <= t) = confidence, for Student's T with so many degrees of freedom.

    By bisection in the angle atan(t / sqrt(degrees)), of which the probability is a finite sum.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):  # halves the interval to less than a double can tell apart
        angle = (low + high) / 2
        low, high = (angle, high) if _within(angle, degrees) < confidence else (low, angle)
    return math.tan(low) * math.sqrt(degrees)


def _within(angle: float, degrees: int) -> float:
    """P(|T| <= sqrt(degrees) * tan(angle)): Abramowitz and Stegun, 1964, 26.7.3 and 26.7.4."""
    cosine, is_odd = math.cos(angle), degrees % 2
    term = cosine if is_odd else 1.0
    total = term if degrees > 1 else 0.0
    for k in range(2 + is_odd, degrees, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if is_odd else total
