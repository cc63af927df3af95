"""The share of a target that one column tells is that on rows which it was not fitted to."""

from __future__ import annotations

import numpy as np
import pytest

from dlrun.data.one_column import share_told

N = 2000
STREAM = np.random.default_rng(0)
VALUES = STREAM.normal(size=N)
NOISE = STREAM.normal(size=N)


def of_numbers(values: np.ndarray, targets: np.ndarray) -> float:
    return share_told(values, targets[:, None], are_classes=False)


def of_classes(values: np.ndarray, classes: np.ndarray) -> float:
    one_hot = (classes[:, None] == np.unique(classes)).astype(float)
    return share_told(values, one_hot, are_classes=True)


def test_noise_tells_nothing_and_the_target_itself_nearly_all() -> None:
    assert of_numbers(NOISE, VALUES) < 0.01
    assert of_classes(NOISE, VALUES > 0) < 0.01
    assert of_numbers(VALUES, VALUES) > 0.9
    assert of_classes(VALUES, VALUES > 0) > 0.9


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_the_share_of_numbers_is_r2(strength: float) -> None:
    """Of a category that shifts the mean by its strength, R² is s² / (s² + 1) if half of the rows have it."""
    category = np.where(VALUES > 0, 1.0, -1.0)
    expected = strength**2 / (strength**2 + 1)
    assert of_numbers(category, strength * category + NOISE) == pytest.approx(expected, abs=0.03)


def test_the_share_of_classes_is_that_of_their_entropy() -> None:
    """Three of four rows are as the category says: 1 - H(1/4) = 0.19 of the one bit is known."""
    category = STREAM.random(N) < 0.5
    classes = category ^ (STREAM.random(N) < 0.25)
    assert of_classes(category.astype(float), classes) == pytest.approx(0.189, abs=0.03)


def test_a_relation_that_goes_up_and_down_is_seen() -> None:
    assert of_numbers(VALUES, VALUES**2) > 0.7


def test_a_value_for_each_row_tells_nothing() -> None:
    assert of_numbers(np.arange(N, dtype=float), NOISE) < 0.02
    assert of_classes(STREAM.permutation(N).astype(float), NOISE > 0) < 0.02


def test_a_constant_target_is_told_by_nothing() -> None:
    assert of_numbers(VALUES, np.full(N, 3.0)) == 0


def test_each_of_many_categories_counts_for_itself_whatever_its_number() -> None:
    """Of 500 means with the variance 1, each seen about 10 times with noise of 0.09, R² is near 1 / 1.09."""
    stream = np.random.default_rng(1)
    shops = stream.integers(0, 500, 10_000)
    sales = stream.normal(size=500)[shops] + 0.3 * stream.normal(size=10_000)
    told = share_told(shops.astype(float), sales[:, None], are_classes=False, are_categories=True)
    assert told == pytest.approx(1 / 1.09, abs=0.04)
    assert of_numbers(shops.astype(float), sales) < 0.1


def test_categories_that_all_differ_tell_nothing() -> None:
    told = share_told(np.arange(N, dtype=float), NOISE[:, None], are_classes=False, are_categories=True)
    assert told == 0
