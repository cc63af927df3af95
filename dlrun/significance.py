"""What a few seeds can say of two settings: how far apart they are, and whether that is more than noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, stdev, variance

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """How much larger the second of two settings is than the first: `mean` ± `margin`.

    `n` counts the pairs, or where there are none the seeds of the setting that has fewer. `chance` is how
    likely two settings that do not differ are to be as far apart as these; it is 1 where there are too few
    seeds to say. Of several `comparisons` the interval is as wide as one of so many (Bonferroni).
    """

    mean: float
    error: float  # the standard error of the mean
    degrees: int  # of freedom
    n: int
    is_paired: bool
    chance: float
    comparisons: int = 1

    @property
    def margin(self) -> float:
        """Half the interval that covers the true difference; infinite where too few seeds can say."""
        if not self.degrees or not (self.error or self.is_known):
            return math.inf if self.mean else 0.0
        return quantile(1 - (1 - CONFIDENCE) / self.comparisons, self.degrees) * self.error

    @property
    def is_known(self) -> bool:
        """Whether it is more than what chance alone would show."""
        return self.chance <= (1 - CONFIDENCE) / self.comparisons


def difference(first: Mapping[int, float], second: Mapping[int, float]) -> Difference | None:
    """How much larger `second` is than `first`, each seed -> figure; None where one of them is empty.

    The same seed starts from the same weights and sees the same order, so two seeds or more that both have
    are compared pair by pair (Student, 1908); else the two means are (Welch, 1947).
    """
    shared = sorted(first.keys() & second.keys())
    pairs = [second[seed] - first[seed] for seed in shared]
    if len(pairs) > 1:
        mean, degrees = fmean(pairs), len(pairs) - 1
        if not is_rounding(pairs):
            error = stdev(pairs) / math.sqrt(len(pairs))
            return Difference(mean, error, degrees, len(pairs), True, _chance(mean, error, degrees))
        # A share of a few examples has few values, so a few pairs may well be equally far apart by chance.
        # Of their spread nothing is known then: as many on one side are what counts (the sign test).
        varies = any(len({each[seed] for seed in shared}) > 1 for each in (first, second))
        chance = 0.0 if not varies and len(pairs) > 2 else 2.0**-degrees  # two seeds tie easily
        return Difference(mean, 0.0, degrees, len(pairs), True, chance if any(pairs) else 1.0)
    if not first or not second:
        return None
    n = min(len(first), len(second))
    apart = fmean(second.values()) - fmean(first.values())
    if n < 2:
        return Difference(apart, math.inf, 0, n, bool(pairs), 1.0)
    of_mean = [variance(each.values()) / len(each) for each in (first, second)]
    error, degrees = math.sqrt(sum(of_mean)), _welch(of_mean, [len(first), len(second)])
    return Difference(apart, error, degrees, n, False, _chance(apart, error, degrees))


def one_of_many(chances: Sequence[float]) -> list[int]:
    """As one of how many comparisons each of several differences counts, the least likely ones first.

    A false claim is then as rare among all of them as it is in one alone (Holm, 1979).
    """
    order = sorted(range(len(chances)), key=chances.__getitem__)
    counts, refused = [1] * len(chances), 0
    for place, index in enumerate(order):
        if not refused and chances[index] > (1 - CONFIDENCE) / (len(chances) - place):
            refused = len(chances) - place
        counts[index] = refused or len(chances) - place
    return counts


def _chance(mean: float, error: float, degrees: int) -> float:
    """How likely |T| is to be as large as mean / error, for Student's T with so many degrees of freedom."""
    if not mean or not error:
        return 0.0 if mean else 1.0
    return max(0.0, 1 - _within(math.atan(abs(mean) / error / math.sqrt(degrees)), degrees))


def is_rounding(values: Sequence[float]) -> bool:
    """Whether values are the same but for the last digits of a double."""
    return max(values) - min(values) <= 1e-12 * max(map(abs, values))


def _welch(of_mean: list[float], n: list[int]) -> int:
    """The degrees of freedom for the difference of two means with these variances, rounded down."""
    if not sum(of_mean):
        return min(n) - 1
    shares = [variance / sum(of_mean) for variance in of_mean]
    return max(min(n) - 1, int(1 / sum(s**2 / (m - 1) for s, m in zip(shares, n, strict=True))))


@lru_cache  # the settings of a sweep mostly have the same number of seeds
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
