"""Columns that give the target away, count the rows or differ in test are found, and others are not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from dlrun.data.examples import Data, Examples
from dlrun.data.loaded import Loaded
from dlrun.data.tabular.suspicious_columns import column_warnings

N = 400
STREAM = torch.Generator().manual_seed(0)
NOISE = torch.randn(N, 4, generator=STREAM, dtype=torch.float64)
DRAWN = torch.randperm(N, generator=STREAM)
NUMBERS = 3 * NOISE[:, 0] + NOISE[:, 1]
CLASSES = (NUMBERS > 0).long()


def warnings(
    column: Tensor | Sequence[Tensor],
    names: str | Sequence[str] = "k",
    *,
    targets: Tensor = NUMBERS,
    order: Tensor = DRAWN,
    is_numbered: bool = True,
) -> list[str]:
    """The warnings about one column, or several, beside one of noise; the last 100 of the order are test."""
    columns = [column] if isinstance(column, Tensor) else list(column)
    inputs = torch.stack([NOISE[:, 3], *(own.double() for own in columns)], 1)
    rows = torch.arange(N)
    is_class = not targets.is_floating_point()

    def of(some: Tensor) -> Examples:
        own = targets[some] if is_class else targets[some].float().unsqueeze(1)
        return Examples(inputs[some], own, origin=rows[some] if is_numbered else None)

    data = Data(
        "classification" if is_class else "regression",
        (inputs.shape[1],),
        lambda: {"train": of(order[:-100].sort().values), "test": of(order[-100:].sort().values)},
        classes=("low", "high") if is_class else (),
        features=("noise", *([names] if isinstance(names, str) else names)),
        target="y",
    )
    return list(column_warnings(data, Loaded(data, torch.device("cpu")).splits))


@pytest.mark.parametrize("targets", [NUMBERS, CLASSES], ids=["numbers", "classes"])
@pytest.mark.parametrize(
    "column",
    [
        NOISE[:, 0],
        torch.full((N,), 7.0),
        (10 * NOISE[:, 2]).round(),
        (1e6 * NOISE[:, 2]).round(),
        torch.where(NOISE[:, 2] > 0, NOISE[:, 0], torch.nan),
    ],
    ids=["an input of use", "constant", "whole", "whole and large", "with holes"],
)
def test_nothing_is_said_of_common_columns(column: Tensor, targets: Tensor) -> None:
    assert warnings(column, targets=targets) == []


@pytest.mark.parametrize("is_numbered", [True, False])
@pytest.mark.parametrize("first", [0, 1])
def test_a_column_that_counts_the_rows_is_named(first: int, is_numbered: bool) -> None:
    [said] = warnings(torch.arange(first, first + N), "Unnamed: 0", is_numbered=is_numbered)
    assert said.startswith("Unnamed: 0: counts the rows") and said.endswith("list it under ignore")


def test_a_year_that_counts_up_with_the_rows_is_named_unless_the_split_is_by_time() -> None:
    years = 1700 + torch.arange(N)
    [said] = warnings(years, "year")
    assert said.startswith("year: counts up with the rows, as a date does") and "split by date" in said
    [said] = warnings(years, "year", order=torch.arange(N))
    assert said.startswith("test is not distributed as train is: year (2000 to 2099, in train 1700 to 1999)")


def test_an_id_is_named_and_large_measurements_are_none() -> None:
    shuffled = 1000 + 3 * torch.randperm(N, generator=torch.Generator().manual_seed(1))
    [said] = warnings(shuffled)
    assert said.startswith("k: different in every row")
    spread = (torch.arange(N) ** 3 * 1000)[torch.randperm(N, generator=torch.Generator().manual_seed(2))]
    assert warnings(spread, "area") == []
    assert warnings(spread, "customer_id")[0].startswith("customer_id: different in every row")


def test_a_text_of_which_each_row_has_its_own_is_an_id() -> None:
    own = torch.eye(N)[:, DRAWN[:-100]].T  # a category for each row of train
    [said] = warnings(list(own), [f"name=n{place}" for place in range(N - 100)])
    assert said.startswith("name: different in every row")


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (NUMBERS, "k (the same number in every row)"),
        (-5 * NUMBERS + 1, "k (R² 0.99"),
        (NUMBERS.exp(), "k (R² 0.99"),
        (NUMBERS + 0.01 * NOISE[:, 2], "k (R² 0.99"),
    ],
    ids=["equal", "linear", "monotone", "noisy"],
)
def test_an_input_that_tells_a_number_is_named_with_the_figure(column: Tensor, said: str) -> None:
    [warning] = warnings(column)
    assert warning.startswith(f"y can be told from one input alone: {said}")


def test_an_input_or_a_category_that_tells_the_class_is_named() -> None:
    for column in (CLASSES * 5, NUMBERS):
        [said] = warnings(column, targets=CLASSES)
        assert said.startswith("y can be told from one input alone: k (")
    categories = [CLASSES == 0, CLASSES == 1]
    [said] = warnings(categories, ["end=lost", "end=won"], targets=CLASSES)
    assert said.startswith("y can be told from one input alone: end (100.00% of the classes)")
    assert warnings([NOISE[:, 2] > 0, NOISE[:, 2] <= 0], ["end=lost", "end=won"], targets=CLASSES) == []


def test_cells_that_are_missing_for_one_class_alone_tell_it() -> None:
    [said] = warnings(torch.where(CLASSES == 1, torch.nan, NOISE[:, 2]), targets=CLASSES)
    assert said.startswith("y can be told from one input alone: k (100.00% of the classes)")


def test_rare_categories_differ_in_test_by_chance() -> None:
    categories = torch.randint(250, (N,), generator=torch.Generator().manual_seed(4))
    one_hot = torch.nn.functional.one_hot(categories, 250)
    assert warnings(list(one_hot.T), [f"k={place}" for place in range(250)]) == []


def test_many_values_of_few_rows_each_tell_nothing_of_other_rows() -> None:
    """A fit that is judged on its own rows would call such a column perfect."""
    categories = torch.randint(150, (N,), generator=torch.Generator().manual_seed(3))
    one_hot = torch.nn.functional.one_hot(categories, 150)
    assert warnings(list(one_hot.T), [f"k={place}" for place in range(150)], targets=CLASSES) == []
    assert warnings(categories.double() + 0.5, targets=CLASSES) == []


def test_a_column_that_differs_in_test_is_named() -> None:
    in_time = torch.arange(N)
    [said] = warnings(2000.5 + in_time // 80, "year", order=in_time)
    assert said.startswith("test is not distributed as train is: year (median 2004.5, in train 2001.5)")
    [said] = warnings(in_time + 0.5, "t", order=in_time)
    assert "t (300.5 to 399.5, in train 0.5 to 299.5)" in said
    is_new = in_time >= 310
    [said] = warnings([~is_new, is_new], ["shop=a", "shop=b"], order=in_time)
    assert "shop (other categories)" in said


def test_nothing_is_said_of_few_rows() -> None:
    data = Data(
        "regression",
        (2,),
        lambda: {"train": Examples(NOISE[:20, :2], NOISE[:20, :1].float())},
        splits=("train",),
    )
    assert list(column_warnings(data, Loaded(data, torch.device("cpu")).splits)) == []
