"""Significance of the difference between two settings that were trained with a few seeds each: t tests."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from statistics import fmean, stdev


def decimals(spread: float) -> int:
    """The number of decimals that show two digits of a spread."""
    return min(8, max(0, 1 - math.floor(math.log10(spread)))) if 0 < spread < math.inf else 4


CONFIDENCE = 0.95
Replicate = int | tuple[int, int]  # one of the trainings of a setting: a seed, or a fold and a seed


@dataclass(frozen=True)
class Difference:
    """The difference of two settings, second minus first: `mean` ± `margin`.

    `n` counts the pairs of folds or of seeds, or without pairs the seeds of the setting that has fewer.
    `chance` is the p-value: the probability that two settings that do not differ are at least this far apart;
    1 with too few seeds. With several `comparisons` the interval is widened (Bonferroni).
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
        """Half the width of the confidence interval; infinite with too few seeds."""
        if not self.degrees or not (self.error or self.is_known):
            return math.inf if self.mean else 0.0
        return quantile(1 - (1 - CONFIDENCE) / self.comparisons, self.degrees) * self.error

    @property
    def is_known(self) -> bool:
        """True if the difference is significant."""
        return self.chance <= (1 - CONFIDENCE) / self.comparisons


def difference(
    first: Mapping[Replicate, float],
    second: Mapping[Replicate, float],
    step: float = 0.0,
    held_out: float = 0.0,
) -> Difference | None:
    """The difference `second` - `first`, each seed -> figure; None if one of them is empty.

    The same seed starts from the same weights and sees the same order, so if both have two or more of the
    same seeds, those are compared in pairs (Student, 1908); otherwise the means are (Welch, 1947). An
    accuracy over few examples takes few values, so a few seeds may differ by the same amount by chance: a
    spread of zero counts as the `step` of the figures, or if that is unknown, 0, only the order is tested.

    Folds are compared in pairs of the same fold, each a mean over pairs of the same seed. They share most of
    their training examples, so that they differ less than new samples would: with `held_out` examples of a
    fold for each one that is trained on, their variance s² / n becomes s² · (1 / n + held_out) (Nadeau and
    Bengio, 2003, doi:10.1023/A:1024068626366). None if no fold is shared; a single one is as without folds.
    """
    folds = {key[0] for key in first.keys() & second.keys() if isinstance(key, tuple)}
    if len(folds) > 1:
        return _difference_of_folds(first, second, step, held_out)
    if any(isinstance(key, tuple) for key in (*first, *second)):
        first, second = _of_fold(first, folds), _of_fold(second, folds)
    shared = [seed for seed in first if seed in second]
    pairs = [second[seed] - first[seed] for seed in shared]
    if len(pairs) > 1:
        if found := _of_pairs(pairs, step, 1 / len(pairs)):
            return found
        varies = any(len({each[seed] for seed in shared}) > 1 for each in (first, second))
        n = len(pairs)
        return Difference(fmean(pairs), 0.0, n - 1, n, True, 2.0 ** (1 - n) if varies else _by_order(n, n))
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


def _of_fold(figures: Mapping[Replicate, float], folds: Collection[int]) -> dict[Replicate, float]:
    """The figure of each seed in the only fold that there is; {} without one."""
    return {key[1]: figure for key, figure in figures.items() if isinstance(key, tuple) and key[0] in folds}


def _difference_of_folds(
    first: Mapping[Replicate, float], second: Mapping[Replicate, float], step: float, held_out: float
) -> Difference:
    """The difference by pairs of the same fold, which are not independent of each other."""
    of_fold: dict[int, list[float]] = {}
    for key in first.keys() & second.keys():
        if isinstance(key, tuple):
            of_fold.setdefault(key[0], []).append(second[key] - first[key])
    pairs = [fmean(of_fold[fold]) for fold in sorted(of_fold)]
    n = len(pairs)
    # without a spread nothing tells how much they would differ
    return _of_pairs(pairs, step, 1 / n + held_out) or Difference(fmean(pairs), math.inf, n - 1, n, True, 1.0)


def _of_pairs(pairs: Sequence[float], step: float, share: float) -> Difference | None:
    """The mean of differences in pairs, whose variance is `share` of theirs; None if that is unknown."""
    n = len(pairs)
    found = Difference(fmean(pairs), 0.0, n - 1, n, True, 1.0)
    spread = step if is_rounding(pairs) else stdev(pairs)
    if not any(pairs):
        return found
    return _by_student(found, spread * math.sqrt(share)) if spread else None


def step_of(figures: Iterable[float]) -> float:
    """Estimate the step between possible figures: the smallest difference of any two.

    0 if fewer than three are different.
    """
    different = sorted(set(figures))
    steps = [b - a for a, b in pairwise(different) if not is_rounding([a, b])]
    return min(steps) if len(steps) > 1 else 0.0


def _by_student(found: Difference, error: float) -> Difference:
    return replace(found, error=error, chance=_chance(found.mean, error, found.degrees))


def _by_order(first: int, second: int) -> float:
    """The p-value if all figures of one setting are below all of the other (an exact rank test)."""
    return 2 / math.comb(first + second, first)


def one_of_many(chances: Sequence[float]) -> list[int]:
    """The number of comparisons that each of several p-values is corrected for.

    The probability of any false claim among all of them is then that of one test (Holm, 1979).
    """
    order = sorted(range(len(chances)), key=chances.__getitem__)
    counts, refused = [1] * len(chances), 0
    for place, index in enumerate(order):
        if not refused and chances[index] > (1 - CONFIDENCE) / (len(chances) - place):
            refused = len(chances) - place
        counts[index] = refused or len(chances) - place
    return counts


def _chance(mean: float, error: float, degrees: int) -> float:
    """The p-value P(|T| >= |mean| / error), for Student's T with `degrees` degrees of freedom."""
    if not mean or not error:
        return 0.0 if mean else 1.0
    return max(0.0, 1 - _within(math.atan(abs(mean) / error / math.sqrt(degrees)), degrees))


def is_rounding(values: Sequence[float]) -> bool:
    """Return whether values differ only by rounding, in the last digits of a double."""
    return max(values) - min(values) <= 1e-12 * max(map(abs, values))


def _welch(of_mean: list[float], n: list[int]) -> int:
    """The degrees of freedom for the difference of two means with these variances, rounded down (Welch)."""
    if not sum(of_mean):
        return min(n) - 1
    shares = [variance / sum(of_mean) for variance in of_mean]
    return max(min(n) - 1, int(1 / sum(s**2 / (m - 1) for s, m in zip(shares, n, strict=True))))


@lru_cache  # the settings of a sweep mostly have the same number of seeds
def quantile(confidence: float, degrees: int) -> float:
    """The t with P(|T| <= t) = confidence, for Student's T with `degrees` degrees of freedom.

    By bisection of the angle atan(t / sqrt(degrees)); the probability is a finite sum in it.
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
