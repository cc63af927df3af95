"""Tests of the comparison of two settings over a few seeds."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import combinations
from statistics import fmean, variance

import pytest
from scipy import stats

from dlrun.run_folders.significance import Difference, difference, one_of_many, quantile, step_of

# Student's t for a two-sided 95 % and 99 %, from printed tables.
TABLE = {1: (12.706, 63.657), 2: (4.303, 9.925), 3: (3.182, 5.841), 4: (2.776, 4.604), 5: (2.571, 4.032)} | {
    9: (2.262, 3.250),
    10: (2.228, 3.169),
    30: (2.042, 2.750),
    60: (2.000, 2.660),
    120: (1.980, 2.617),
}
PAIRS = 2000


@pytest.mark.parametrize(("degrees", "printed"), TABLE.items())
def test_students_t_is_as_printed_in_tables(degrees: int, printed: tuple[float, float]) -> None:
    assert quantile(0.95, degrees) == pytest.approx(printed[0], abs=6e-4)
    assert quantile(0.99, degrees) == pytest.approx(printed[1], abs=6e-4)


def simulated(apart: float, *, same_seeds: bool) -> float:
    """The share of pairs of settings, five seeds each, in which a difference is claimed."""
    chance, claimed = random.Random(0), 0
    for _ in range(PAIRS):
        of_seed = [chance.gauss(0, 1) if same_seeds else 0.0 for _ in range(5)]  # what a seed does to both
        first = {seed: of_seed[seed] + chance.gauss(0, 1) for seed in range(5)}
        second = {seed + 5 * (not same_seeds): of_seed[seed] + chance.gauss(apart, 1) for seed in range(5)}
        found = difference(first, second)
        assert found is not None
        assert found.is_paired is same_seeds
        claimed += found.is_known
    return claimed / PAIRS


@pytest.mark.parametrize("same_seeds", [True, False])
def test_noise_is_called_a_difference_as_rarely_as_promised(same_seeds: bool) -> None:
    assert simulated(0, same_seeds=same_seeds) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("same_seeds", [True, False])
def test_a_difference_of_two_standard_deviations_is_found_in_most(same_seeds: bool) -> None:
    assert simulated(2, same_seeds=same_seeds) > 0.5


def test_of_many_settings_that_are_the_same_the_best_is_seldom_called_better() -> None:
    chance, claimed = random.Random(1), 0
    for _ in range(400):
        figures = [{seed: chance.gauss(0, 1) for seed in range(5)} for _ in range(8)]
        pairs = [difference(a, b) for a, b in combinations(figures, 2)]
        counts = one_of_many([pair.chance for pair in pairs if pair])
        claimed += any(
            pair and replace(pair, comparisons=count).is_known
            for pair, count in zip(pairs, counts, strict=True)
        )
    assert claimed / 400 < 0.065


def test_what_is_clear_leaves_more_room_for_what_is_not() -> None:
    assert one_of_many([]) == []
    assert one_of_many([0.04]) == [1]
    assert one_of_many([0.03, 0.03, 0.03]) == [3, 3, 3]  # none is rare enough among three
    assert one_of_many([0.04, 0.001, 0.02]) == [1, 3, 2]
    assert one_of_many([0.04, 0.001, 0.03]) == [2, 3, 2]  # the second is not, so the third is not either


def test_one_seed_says_nothing_and_none_is_no_comparison() -> None:
    found = difference({0: 1.0}, {0: 3.0})
    assert found is not None
    assert (found.mean, found.margin, found.n, found.is_known) == (2.0, math.inf, 1, False)
    assert difference({}, {0: 1.0}) is None


def test_seeds_that_both_have_are_compared_pair_by_pair() -> None:
    first = {0: 1.0, 1: 5.0, 2: 9.0, 7: 100.0}
    found = difference(first, {0: 2.1, 1: 6.0, 2: 9.9})
    assert found is not None
    assert (found.mean, found.n, found.is_paired) == (pytest.approx(1.0), 3, True)
    assert found.margin == pytest.approx(4.303 * 0.1 / math.sqrt(3), rel=1e-3)
    assert found.is_known
    assert not difference(first, dict(first)).is_known  # type: ignore[union-attr]


def test_the_interval_is_wider_where_several_hold_at_once() -> None:
    first, second = ({seed: share * seed for seed in range(5)} for share in (1.0, 1.1))
    alone = difference(first, second)
    assert alone is not None
    one_of_five = replace(alone, comparisons=5)
    assert one_of_five.margin / alone.margin == pytest.approx(4.604 / 2.776, rel=1e-3)  # 99 % and 95 %


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("steps", [0.5, 1, 3])
def test_noise_in_few_steps_is_called_a_difference_as_rarely(n: int, steps: float) -> None:
    """A share of sixty examples: two runs are often just as far apart in every seed."""
    chance, claimed = random.Random(2), 0
    for _ in range(PAIRS // 2):
        first, second = ({seed: round(chance.gauss(50, steps)) / 60 for seed in range(n)} for _ in range(2))
        found = difference(first, second)
        assert found is not None
        claimed += found.is_known
    assert claimed / (PAIRS // 2) < 0.065


def test_equal_differences_of_a_few_seeds_prove_nothing_and_of_many_do() -> None:
    def shifted(n: int) -> bool:
        first = {seed: seed / 10 for seed in range(n)}
        found = difference(first, {seed: value + 0.01 for seed, value in first.items()})
        assert found is not None
        return found.is_known

    assert [shifted(n) for n in (2, 3, 5, 6, 9)] == [False, False, False, True, True]


@pytest.mark.parametrize("shift", [0, 100], ids=["the same seeds", "others"])
def test_figures_that_no_seed_changes_are_told_apart_by_their_step_or_their_order(shift: int) -> None:
    def always(n: int, step: float = 0.0) -> Difference:
        found = difference(
            dict.fromkeys(range(n), 0.5), dict.fromkeys(range(shift, shift + n), 0.5 + 2e-3), step
        )
        assert found is not None
        return found

    chances = [always(n).chance for n in (2, 3, 4, 5)]  # all of one are above all of the other
    assert chances == pytest.approx([2 / 6, 2 / 20, 2 / 70, 2 / 252])
    assert [always(n).is_known for n in (2, 3, 4)] == [False, False, True]
    assert always(4).margin == 0
    assert not always(4, step=2e-3).is_known
    clear = always(5, step=1e-5)
    assert clear.is_known
    assert 0 < clear.margin < 1e-4
    assert clear.chance < 1e-3  # so that many may be compared


def test_the_step_of_figures_is_the_smallest_difference_of_two() -> None:
    assert step_of([0.1, 0.3, 0.3, 0.35]) == pytest.approx(0.05)
    assert step_of([0.1, 0.3, 0.1]) == step_of([]) == 0.0  # it may be as large as what is asked about
    assert step_of([0.1 + 0.2, 0.3, 1.0]) == 0.0  # two of them are one


@pytest.mark.parametrize("shift", [0, 100], ids=["the same seeds", "others"])
@pytest.mark.parametrize("n", [2, 3, 5])
def test_figures_of_two_values_alone_are_called_different_as_rarely(n: int, shift: int) -> None:
    chance, claimed = random.Random(3), 0
    for _ in range(PAIRS):
        first = {seed: chance.choice((0.9, 0.95)) for seed in range(n)}
        second = {seed + shift: chance.choice((0.9, 0.95)) for seed in range(n)}
        found = difference(first, second)
        assert found is not None
        claimed += found.is_known
    assert claimed / PAIRS < 0.065


def test_figures_of_any_size_can_be_compared() -> None:
    for size in (1e-100, 1e100):
        found = difference({0: 1.0 * size, 1: 2.0 * size}, {2: 3.0 * size, 3: 3.5 * size})
        plain = difference({0: 1.0, 1: 2.0}, {2: 3.0, 3: 3.5})
        assert found is not None and plain is not None
        assert (found.mean / size, found.margin / size) == pytest.approx((plain.mean, plain.margin))
    constant = difference({0: 1.0, 1: 1.0}, {2: 3.0, 3: 4.0})
    assert constant is not None
    assert constant.margin > 1


# --------------------------------------------------------------------------- folds


FIRST = {(fold, seed): 0.9 + 0.01 * fold + 0.003 * seed for fold in range(5) for seed in range(2)}
APART = {(0, 0): 0.02, (1, 0): 0.011, (2, 0): 0.03, (3, 0): 0.017, (4, 0): 0.022}
SECOND = {
    (fold, seed): figure + APART[fold, 0] + (0.01 if seed else -0.01)
    for (fold, seed), figure in FIRST.items()
}


def test_folds_are_compared_by_the_corrected_resampled_t_test() -> None:
    held_out = 24 / 96
    found = difference(FIRST, SECOND, held_out=held_out)
    pairs = list(APART.values())  # the seeds of a fold are one figure, their mean
    # Nadeau and Bengio 2003: t = mean / sqrt((1 / n + n_test / n_train) · s²), with n - 1 degrees
    error = math.sqrt((1 / 5 + held_out) * variance(pairs))
    assert found is not None
    assert (found.n, found.degrees, found.is_paired) == (5, 4, True)
    assert found.mean == pytest.approx(fmean(pairs))
    assert found.error == pytest.approx(error)
    assert found.margin == pytest.approx(stats.t.ppf(0.975, 4) * error)
    assert found.chance == pytest.approx(2 * stats.t.sf(fmean(pairs) / error, 4))


def test_folds_that_share_nothing_held_out_are_pairs_as_any() -> None:
    one, other = ({(fold, 0): each[fold, 0] for fold in range(5)} for each in (FIRST, SECOND))
    by_seed = [{fold: figure for (fold, _), figure in each.items()} for each in (one, other)]
    assert difference(one, other) == difference(*by_seed)
    corrected = difference(one, other, held_out=0.25)
    plain = difference(*by_seed)
    assert corrected is not None and plain is not None
    assert corrected.margin == pytest.approx(1.5 * plain.margin)


def test_a_single_fold_is_compared_as_without_folds() -> None:
    one, other = ({(3, seed): 0.1 * seed + apart * seed for seed in range(4)} for apart in (0, 0.01))
    by_seed = [{seed: figure for (_, seed), figure in each.items()} for each in (one, other)]
    assert difference(one, other, held_out=0.25) == difference(*by_seed)
    assert difference(by_seed[0], by_seed[1]) is not None


def test_of_other_folds_and_of_no_folds_nothing_is_told() -> None:
    of_first, of_second = ({(fold, 0): 0.5 + fold for fold in folds} for folds in ((0, 1, 2), (3, 4)))
    assert difference(of_first, of_second) is None
    assert difference(of_first, {0: 0.5, 1: 0.6, 2: 0.7}) is None


def test_folds_that_all_differ_by_the_same_tell_nothing_without_a_step() -> None:
    one = {(fold, 0): 0.5 for fold in range(10)}
    other = {(fold, 0): 0.625 for fold in range(10)}
    found = difference(one, other, held_out=0.1)
    assert found is not None and not found.is_known and found.margin == math.inf
    same = difference(one, dict(one), held_out=0.1)
    assert same is not None and (same.mean, same.margin) == (0, 0)


def test_noise_over_folds_that_overlap_is_called_a_difference_less_often_than_by_pairs() -> None:
    chance, claims = random.Random(2), {True: 0, False: 0}
    for _ in range(600):
        shared = chance.gauss(0, 0.5)  # what the training examples that all folds share do to all of them
        apart = {(fold, 0): shared + chance.gauss(0, 1) for fold in range(5)}
        for is_corrected in claims:
            found = difference(dict.fromkeys(apart, 0.0), apart, held_out=0.25 * is_corrected)
            assert found is not None
            claims[is_corrected] += found.is_known
    assert claims[True] / 600 < 0.06 < claims[False] / 600
