"""What a few seeds can say of two settings: how far apart they are, and whether that is more than noise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from statistics import fmean, stdev


def decimals(spread: float) -> int:
    """How many decimals show two digits of a spread."""
    return min(8, max(0, 1 - math.floor(math.log10(spread)))) if 0 < spread < math.inf else 4


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


def difference(
    first: Mapping[int, float], second: Mapping[int, float], step: float = 0.0
) -> Difference | None:
    """How much larger `second` is than `first`, each seed -> figure; None where one of them is empty.

    The same seed starts from the same weights and sees the same order, so two seeds or more that both have
    are compared pair by pair (Student, 1908); else the two means are (Welch, 1947). A share of a few examples
    comes in steps, and a few seeds may well be equally far apart by chance: no spread at all counts as the
    `step` of the figures, or where that is not known, 0, their order alone is compared.
    """
    shared = sorted(first.keys() & second.keys())
    pairs = [second[seed] - first[seed] for seed in shared]
    if len(pairs) > 1:
        n, mean = len(pairs), fmean(pairs)
        found = Difference(mean, 0.0, n - 1, n, True, 1.0)
        spread = step if is_rounding(pairs) else stdev(pairs)
        if spread and any(pairs):
            return _by_student(found, spread / math.sqrt(n))
        if not any(pairs):
            return found
        varies = any(len({each[seed] for seed in shared}) > 1 for each in (first, second))
        return replace(found, chance=2.0 ** (1 - n) if varies else _by_order(n, n))
    if not first or not second:
        return None
    sizes = [len(first), len(second)]
    apart = fmean(second.values()) - fmean(first.values())
    if min(sizes) < 2:
        return Difference(apart, math.inf, 0, min(sizes), bool(pairs), 1.0)
    spreads = [0.0 if is_rounding([*each.values()]) else stdev(each.values()) for each in (first, second)]
    of_mean = [(s if any(spreads) else step) ** 2 / n for s, n in zip(spreads, sizes, strict=True)]
    found = Difference(apart, 0.0, _welch(of_mean, sizes), min(sizes), False, 1.0)
    if sum(of_mean):
        return _by_student(found, math.sqrt(sum(of_mean)))
    return replace(found, chance=_by_order(*sizes)) if apart else found


def step_of(figures: Iterable[float]) -> float:
    """The smallest difference between any two of the figures, as an estimate of the step that they come in;
    0 where there are not three different ones.
    """
    different = sorted(set(figures))
    steps = [b - a for a, b in pairwise(different) if not is_rounding([a, b])]
    return min(steps) if len(steps) > 1 else 0.0


def _by_student(found: Difference, error: float) -> Difference:
    return replace(found, error=error, chance=_chance(found.mean, error, found.degrees))


def _by_order(first: int, second: int) -> float:
    """How likely all figures of one of two settings that do not differ are below all of the other."""
    return 2 / math.comb(first + second, first)


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
