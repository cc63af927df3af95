"""Ranks of numbers among training quantiles: scikit-learn's values, and back again."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import pytest
import torch

from dlrun.data.normal_ranks import normal_ranks, of_normal_ranks
from dlrun.data.preprocessing import Preprocessing

QUANTILES = torch.tensor([[1.0, 2, 2, 4, 10], [-1, 0, 1, 2, 3]], dtype=torch.float64)


def test_numbers_have_the_normal_quantiles_of_scikit_learn_between_the_ends() -> None:
    """QuantileTransformer(n_quantiles=5, output_distribution="normal") of 1.9.1, fitted on 1, 2, 2, 4, 10."""
    numbers = torch.tensor([1.5, 2, 3, 4, 5, 9], dtype=torch.float64)
    found = normal_ranks(torch.stack([numbers, numbers], 1), QUANTILES)[:, 0].tolist()
    wanted = [-1.15034938, -0.31863936, 0.31863936, 0.67448975, 0.8122178]
    assert found[:5] == pytest.approx(wanted, abs=1e-8)
    assert found[5] == pytest.approx(-NormalDist().inv_cdf(0.1)), "half a step before the end"


def test_beyond_the_training_rows_all_have_the_end() -> None:
    numbers = torch.tensor([[-torch.inf, -torch.inf], [1, -1], [10, 3], [1e30, 1e30], [torch.nan, 0]])
    found = normal_ranks(numbers, QUANTILES)
    end = -NormalDist().inv_cdf(0.1)
    assert found[:4, 0].tolist() == pytest.approx([-end, -end, end, end])
    assert found.dtype == torch.float32 and found[4, 0].isnan() and found[4, 1].isfinite()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_numbers_come_back(dtype: torch.dtype) -> None:
    numbers = torch.tensor([[1, -1], [2, -0.5], [3, 0.25], [4, 1], [7, 2.4], [10, 3]], dtype=dtype)
    torch.testing.assert_close(of_normal_ranks(normal_ranks(numbers, QUANTILES), QUANTILES), numbers)


def test_preprocessing_ranks_some_features_and_undoes_it() -> None:
    steps = Preprocessing(
        torch.tensor([0, 5.0, 0]),
        torch.tensor([1, 2.0, 1]),
        torch.tensor([2.0, 7, 1]),
        quantiles=QUANTILES,
        ranked=torch.tensor([2, 0]),
    )
    inputs = torch.tensor([[0.25, 9.0, 4], [2.4, torch.nan, 3]])
    before = inputs.clone()
    found = steps(inputs)
    assert torch.equal(inputs.nan_to_num(9), before.nan_to_num(9)), "what it is given stays"
    assert found[:, 1].tolist() == [2, 1]
    assert torch.equal(found[:, [2, 0]], normal_ranks(inputs[:, [2, 0]], QUANTILES))
    torch.testing.assert_close(steps.undone(found), torch.tensor([[0.25, 9.0, 4], [2.4, 7, 3]]))
    again = Preprocessing(**steps.state_dict())  # type: ignore[arg-type]
    assert again.suits((3,)) and torch.equal(again(inputs), found)
    assert not Preprocessing(quantiles=QUANTILES, ranked=torch.tensor([0, 1])).suits((3, 2, 2)), "no vectors"
    assert set(Preprocessing(torch.ones(3)).state_dict()) == {"offset", "scale", "fill"}, "as ever"


BAD_TABLES: dict[str, dict[str, Any]] = {
    "no places": {"quantiles": QUANTILES},
    "no table": {"ranked": torch.tensor([0, 1])},
    "text": {"quantiles": "2", "ranked": torch.tensor([0, 1])},
    "places beyond": {"quantiles": QUANTILES, "ranked": torch.tensor([0, 3])},
    "places below": {"quantiles": QUANTILES, "ranked": torch.tensor([0, -1])},
    "a place twice": {"quantiles": QUANTILES, "ranked": torch.tensor([1, 1])},
    "places that are no whole numbers": {"quantiles": QUANTILES, "ranked": torch.tensor([0.0, 1])},
    "a place too many": {"quantiles": QUANTILES, "ranked": torch.tensor([0, 1, 2])},
    "descending": {"quantiles": QUANTILES.flip(1), "ranked": torch.tensor([0, 1])},
    "infinite": {"quantiles": QUANTILES * torch.inf, "ranked": torch.tensor([0, 1])},
    "nan": {"quantiles": QUANTILES * torch.nan, "ranked": torch.tensor([0, 1])},
    "steps that are infinite": {"quantiles": QUANTILES.sub(3) * 3e307, "ranked": torch.tensor([0, 1])},
    "whole numbers": {"quantiles": QUANTILES.long(), "ranked": torch.tensor([0, 1])},
    "a single quantile": {"quantiles": QUANTILES[:, :1], "ranked": torch.tensor([0, 1])},
    "a number": {"quantiles": torch.tensor(1.0), "ranked": torch.tensor(0)},
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_quantiles_that_are_none_do_not_suit(name: str) -> None:
    assert not Preprocessing(**BAD_TABLES[name]).suits((3,))
