"""Predictions as CSV hold each number by as many digits as it has."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import torch

from dlrun.console import predictions
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
    list(print_predictions(rows, ""))
    assert "a 0.5000, c 0.1500 " in capsys.readouterr().out
    list(print_predictions([{"input": "x", "labels": ["a", "c"], "probabilities": shares}], ""))
    assert "b 0.3000, d 0.0500 " in capsys.readouterr().out


def test_very_many_predictions_are_printed_as_they_come_in_several_tables(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "_MOST_AT_ONCE", 2)
    read: list[int] = []

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(5):
            read.append(number)
            yield {"input": f"row {number}", "y": 0.5 * number}

    printed = print_predictions(rows(), "°F")
    assert next(printed)["input"] == "row 0" and read == [0, 1]
    assert [row["input"] for row in printed] == [f"row {number}" for number in range(1, 5)]
    lines = capsys.readouterr().out.splitlines()
    assert sum("y, °F" in line for line in lines) == 3
    assert [line.split()[-1] for line in lines if line.strip().startswith("row")] == [
        *("0.0000", "0.5000", "1.0000", "1.5000", "2.0000")
    ]
