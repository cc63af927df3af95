"""Training inputs that are let go of before pictures are drawn, and read again where one needs them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import differences, outcome, own_parts, planned, started

from dlrun.data import loaded as module
from dlrun.data.loaded import InMemory, Loaded
from dlrun.errors import UserError
from dlrun.training.experiment import train_run
from dlrun.training.plan import Plan
from dlrun.training.views import HiddenTraining

ALL = torch.arange(20)
FLAT = {"name": "mlp", "hidden": [4], "flatten": True}
WAYS: dict[str, dict[str, Any]] = {
    "whole": {},
    "a validation split": {"dataset": {"name": "spiral", "points": 20, "valid_fraction": 0.25}},
    "a fold": {"dataset": {"name": "spiral", "points": 20, "folds": 3, "fold": 1}},
    "a share": {"limit": 0.5},
    "float64": {"precision": "float64"},
}


@pytest.fixture(autouse=True)
def any_is_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MANY", 1)


def is_held(loaded: Loaded) -> bool:
    split = loaded["train"]
    assert isinstance(split, InMemory)
    return split._inputs is not None


def counting(plan: Plan) -> tuple[Plan, list[int]]:
    """The plan, and how often its data are read."""
    times: list[int] = []

    def read() -> Any:
        times.append(1)
        return plan.data.read()

    return replace(plan, data=replace(plan.data, read=read)), times


@pytest.mark.parametrize("way", WAYS)
def test_they_are_read_again_once_and_are_the_same(way: str) -> None:
    plan, times = counting(planned(**WAYS[way]))
    loaded = plan.load()
    before = loaded["train"].batch(ALL)
    loaded.let_go_of_training()
    assert not is_held(loaded)
    assert torch.equal(loaded["train"].targets_at(ALL), before[1]) and not is_held(loaded)
    assert loaded["test"].batch(ALL) and len(times) == 1
    for _ in range(2):
        assert differences(loaded["train"].batch(ALL), before) == []
    assert len(times) == 2 and is_held(loaded)


def test_data_that_have_changed_are_refused() -> None:
    plan = planned()
    others = planned(dataset={"name": "spiral", "points": 21}).data.read()
    reads = iter([plan.data.read(), others])
    loaded = replace(plan, data=replace(plan.data, read=lambda: next(reads))).load()
    loaded.let_go_of_training()
    with pytest.raises(UserError, match="the training data have changed since they were read"):
        loaded["train"].batch(ALL)


def test_few_inputs_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MANY", 10**6)
    loaded = planned().load()
    loaded.let_go_of_training()
    assert is_held(loaded)


@pytest.mark.parametrize("lets_go", [False, True])
def test_pictures_of_the_training_split_are_those_of_before(lets_go: bool, tmp_path: Path) -> None:
    pictures = []
    for goes in (False, lets_go):
        plan, times = counting(planned(plots=[{"name": "decision_regions"}, {"name": "curves"}]))
        run = started(plan, tmp_path / str(len(pictures)))
        assert train_run(plan, run, HiddenTraining(), lets_go=goes).exit_code == 0
        pictures.append([outcome(run), *(path.read_bytes() for path in sorted(run.plots.glob("*.png")))])
    assert len(times) == 1 + lets_go
    assert pictures[0][1:] == pictures[1][1:] and len(pictures[0]) == 3
    assert differences(pictures[0][0], pictures[1][0]) == []


def test_a_dataset_of_ones_own_is_not_read_again(tmp_path: Path) -> None:
    plan, times = counting(planned(own_parts(tmp_path), dataset="dots", architecture=FLAT, plots=["curves"]))
    assert train_run(plan, started(plan, tmp_path), HiddenTraining(), lets_go=True).exit_code == 0
    assert len(times) == 1
