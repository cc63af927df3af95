"""Predictions as CSV hold each number by as many digits as it has."""

from __future__ import annotations

import csv
from io import StringIO

import pytest
import torch

from dlrun.console.predictions import print_predictions, print_predictions_csv


def printed(capsys: pytest.CaptureFixture[str], values: list[float]) -> list[str]:
    rows = [{"input": f"row {place}", "price": value} for place, value in enumerate(values)]
    list(print_predictions_csv(rows, with_problems=False))
    return [row["price"] for row in csv.DictReader(StringIO(capsys.readouterr().out))]


def test_numbers_of_float32_have_no_digits_that_they_do_not_mean(capsys: pytest.CaptureFixture[str]) -> None:
    stated = [18789.64, 0.1, 1.5, 3e-11, 0.0, 7.0]
    singles = torch.tensor(stated, dtype=torch.float32).tolist()
    assert list(map(float, printed(capsys, singles))) == stated


def test_every_number_is_read_back_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    singles = torch.randn(500, generator=torch.Generator().manual_seed(0)).mul(1e6)
    back = torch.tensor(list(map(float, printed(capsys, singles.tolist()))), dtype=torch.float32)
    assert torch.equal(back, singles)
    doubles = [1 / 3, 1e300, float("inf"), -1 / 7e5]
    assert list(map(float, printed(capsys, doubles))) == doubles


def test_the_classes_beside_a_prediction_are_the_most_probable_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By a threshold the most probable class need not be the predicted one."""
    shares = {"a": 0.5, "b": 0.3, "c": 0.15, "d": 0.05}
    rows = [{"input": "x", "class": "b", "probability": 0.3, "probabilities": shares}]
    print_predictions(rows, "")
    assert "a 0.5000, c 0.1500 " in capsys.readouterr().out
    print_predictions([{"input": "x", "labels": ["a", "c"], "probabilities": shares}], "")
    assert "b 0.3000, d 0.0500 " in capsys.readouterr().out
