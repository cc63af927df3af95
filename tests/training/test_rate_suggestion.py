"""The rate that the losses of a range test suggest, and when it is not to be trusted."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log10
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from dlrun.training.rate_range import RateCurve, RateRange
from dlrun.training.rate_suggestion import SeedRate, Suggestion

RANGE = RateRange(1e-7, 10.0, 200)
Losses = Callable[[float], float]  # of the logarithm of the rate


def falling_at(place: float, rising_at: float = 0.0, fall: float = 2.0) -> Losses:
    """A loss that falls most steeply at one logarithm of the rate, and rises from another on."""
    return lambda x: 2.3 - fall / (1 + exp(-4 * (x - place))) + exp(4 * (x - rising_at))


def seed_rate(
    of: Losses, noise: float = 0.0, seed: int = 0, end: Any = "risen", on: RateRange = RANGE
) -> SeedRate:
    scatter = np.random.default_rng(seed).normal(0, noise, on.steps)
    losses = [of(log10(rate)) + extra for rate, extra in zip(on.rates, scatter.tolist(), strict=True)]
    kept = next((n for n, loss in enumerate(losses) if loss > 20), len(losses))
    return SeedRate(RateCurve(seed, on.rates[:kept], losses[:kept], end))


def broken_off_at(place: float) -> SeedRate:
    """A loss that falls most steeply at 1e-3 and is not finite from another logarithm of the rate on."""
    whole = seed_rate(falling_at(-3)).curve
    steps = sum(log10(rate) < place for rate in whole.rates)
    return SeedRate(RateCurve(0, whole.rates[:steps], whole.losses[:steps], "not finite"))


def suggested(*each: SeedRate, closure: bool = False, on: RateRange = RANGE) -> Suggestion:
    return Suggestion(on, each, closure)


@pytest.mark.parametrize("place", [-5.0, -3.0, -2.0])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_the_rate_is_that_of_the_steepest_descent(place: float, noise: float) -> None:
    found = suggested(*(seed_rate(falling_at(place), noise, seed) for seed in range(5)))
    assert log10(found.rate) == pytest.approx(place, abs=0.15)
    assert found.doubts == []


def test_a_steeper_descent_behind_the_lowest_loss_does_not_count() -> None:
    def again(x: float) -> float:  # it rises, and from a greater height it falls again
        return falling_at(-4, rising_at=9)(x) + 3 / (1 + exp(-4 * (x + 2))) - 2.5 / (1 + exp(-8 * (x + 0.5)))

    assert log10(suggested(seed_rate(again)).rate) == pytest.approx(-4, abs=0.15)


def test_the_smoothed_loss_is_that_of_a_gaussian_window() -> None:
    found = seed_rate(falling_at(-3, rising_at=9), noise=0.3)
    spacing = 8 / 199
    expected = gaussian_filter1d(np.array(found.curve.losses), 0.25 / spacing, truncate=12)
    inside = slice(80, 120)
    assert found.smoothed[inside] == pytest.approx(expected[inside].tolist(), rel=1e-6)


def test_one_batch_that_explodes_does_not_move_the_rate() -> None:
    calm = seed_rate(falling_at(-3))
    wild = [*calm.curve.losses[:-1], 1e30]
    exploded = SeedRate(RateCurve(0, calm.curve.rates, wild, "risen"))
    assert exploded.rate == calm.rate
    assert max(exploded.smoothed) < 20


def test_the_rate_of_several_seeds_is_the_middle_one_with_two_digits() -> None:
    each = [seed_rate(falling_at(place)) for place in (-3.2, -3.0, -2.4)]
    found = suggested(*each)
    assert found.rate == float(f"{each[1].rate:.2g}")
    assert found.rates == [seed.rate for seed in each]
    assert found.doubts == []


@pytest.mark.parametrize(
    ("each", "doubt"),
    [
        ([seed_rate(lambda x: 2.3, noise=0.1)], "the loss hardly falls: from 2.3"),
        ([seed_rate(lambda x: 2.3)], "the loss hardly falls: from 2.3 to 2.3"),
        ([seed_rate(lambda x: 2.3 + exp(x))], "the loss hardly falls"),
        ([seed_rate(falling_at(-3, fall=0.01))], "the loss hardly falls: from 2.3 to 2.2"),
        ([seed_rate(falling_at(-1, rising_at=9), end="complete")], "raise --to, such as to 100"),
        ([broken_off_at(-2.9)], "the loss explodes at the next rates"),
        ([seed_rate(falling_at(-7))], "lower --from, such as to 1e-09"),
        (
            [seed_rate(falling_at(-4.0)), seed_rate(falling_at(-2.0), seed=1)],
            "more than a factor of ten apart",
        ),
        ([seed_rate(falling_at(-3)), seed_rate(lambda x: 2.3, seed=1)], "seed 1: the loss hardly falls"),
    ],
)
def test_a_rate_that_cannot_be_trusted_has_its_reason(each: list[SeedRate], doubt: str) -> None:
    found = suggested(*each)
    assert any(doubt in said for said in found.doubts), found.doubts
    assert found.plain()["is_trusted"] is False


def test_an_optimizer_of_several_iterations_in_a_step_is_not_trusted() -> None:
    assert "several iterations" in suggested(seed_rate(falling_at(-3)), closure=True).doubts[0]


def test_a_loss_that_explodes_well_above_the_rate_is_trusted() -> None:
    assert suggested(broken_off_at(-2.2)).doubts == []


def test_a_fall_to_the_lowest_loss_before_the_end_is_trusted() -> None:
    assert suggested(seed_rate(falling_at(-3, rising_at=1.5), end="complete")).doubts == []
