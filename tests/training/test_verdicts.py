"""A perfect figure is held up, and a column that gives the target away is said before training."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_runs import own_parts, planned, trained

from dlrun.training.verdicts import too_good

EXAMPLES = {"train": 500, "valid": 100, "test": 100}
COUNTED = '''
"""The row's number, something random and a target that is the row's number."""
import torch
from dlrun.data.examples import Data, Examples


def counted(root):
    """80 and 20 rows."""

    def read():
        rows = torch.arange(100).double()
        inputs = torch.stack([rows, torch.randn(100, generator=torch.Generator().manual_seed(0))], 1)
        parts = {"train": rows.long() % 5 != 0, "test": rows.long() % 5 == 0}
        return {name: Examples(inputs[own], rows[own].float().unsqueeze(1)) for name, own in parts.items()}

    return Data("regression", (2,), read, features=("number", "other"), target="y")
'''

EASY = '''
"""Two classes that lie far apart."""
import torch
from dlrun.data.examples import Data, Examples


def easy(root):
    """80 and 100 points."""

    def points(n):
        classes = torch.arange(n) % 2
        return Examples(4.0 * classes.unsqueeze(1) - 2 + torch.rand(n, 2), classes)

    return Data("classification", (2,), lambda: {"train": points(80), "test": points(100)}, ("left", "right"))
'''


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"test_accuracy": [1.0, 1.0]}, "test_accuracy is 1.0000, every example is right (100)"),
        ({"valid_accuracy": [1.0]}, "valid_accuracy is 1.0000, every example is right (100)"),
        ({"test_r2": [0.999999, 1.0]}, "test_r2 is 1.0000, the prediction is exact (100)"),
    ],
)
def test_a_perfect_figure_is_held_up(figures: dict[str, list[float]], said: str) -> None:
    [warning] = too_good(planned().config, figures, EXAMPLES)
    assert warning.startswith(said) and "look for a leak with dlrun data" in warning


def test_no_other_figure_is_held_up() -> None:
    config = planned().config
    assert not list(too_good(config, {"test_accuracy": [1.0, 0.99]}, EXAMPLES))  # one seed errs
    assert not list(too_good(config, {"train_accuracy": [1.0]}, EXAMPLES))  # it was learnt by heart
    assert not list(too_good(config, {"test_r2": [0.999]}, EXAMPLES))
    assert not list(too_good(config, {"test_accuracy": [1.0]}, EXAMPLES | {"test": 99}))  # few examples
    claimed = planned(expect={"test_accuracy": ">= 0.98"}).config
    assert not list(too_good(claimed, {"test_accuracy": [1.0]}, EXAMPLES))


def test_a_run_warns_of_columns_before_it_trains_and_of_a_perfect_figure_after_it(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"dataset/counted.py": COUNTED})
    plan = planned(parts, dataset="counted", loss="mse", metrics=["r2"])
    log = (trained(plan, tmp_path / "counted").folder / "log.txt").read_text(encoding="utf-8")
    assert "warning: number: counts the rows" in log.split("epoch 0 of")[0]
    easy = planned(own_parts(tmp_path, {"dataset/easy.py": EASY}), dataset="easy", epochs=20)
    log = (trained(easy, tmp_path / "easy").folder / "log.txt").read_text(encoding="utf-8")
    assert "warning: test_accuracy is 1.0000, every example is right (100)" in log.split("epoch 0 of")[1]
