"""`dlrun data` describes a dataset as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import own_parts, planned

from dlrun.results.preview import dataset_facts

LEAKING = '''
"""Figures of which some are in two splits, one never changes and one is far from 0."""
import torch
from dlrun.data.examples import Data, Examples
from dlrun.data.preprocessing import Preprocessing


def leaking(root, *, missing: bool = False):
    """40 and 10 examples of three figures."""

    def read():
        stream = torch.Generator().manual_seed(1)
        train = torch.randn(40, 3, generator=stream, dtype=torch.float64)
        test = torch.randn(10, 3, generator=stream, dtype=torch.float64)
        for inputs in (train, test):
            inputs[:, 1] = 7.0
            inputs[:, 2] = 1.7e9 + 100 * inputs[:, 2]
        test[:4] = train[10:14]
        if missing:
            train[3, 0] = float("nan")
        return {name: Examples(x, x[:, :1].float()) for name, x in (("train", train), ("test", test))}

    def fit(training):
        return Preprocessing(training.inputs.nanmean(0), training.inputs.std(0).clamp_min(1), torch.zeros(3))

    return Data("regression", (3,), read, features=("a", "always 7", "time"), target="y", unit="m", fit=fit,
                notes=["a row was dropped"])
'''


FLAT = {"name": "mlp", "flatten": True}


def found(folder: Path, **changes: Any) -> dict[str, Any]:
    parts = own_parts(folder, {"dataset/leaking.py": LEAKING})
    plan = planned(parts, **changes)
    return dataset_facts(plan, plan.load())


def of_leaking(folder: Path, **options: Any) -> dict[str, Any]:
    return found(folder, dataset={"name": "leaking", **options}, loss="mse", metrics=[])


def test_shapes_and_classes_are_counted(tmp_path: Path) -> None:
    told = found(tmp_path, dataset="uneven")
    assert told["input_shape"] == [2]
    assert told["splits"]["train"]["classes"] == {"a": 24, "b": 8, "c": 4, "d": 4}
    assert told["splits"]["test"]["examples"] == 40


def test_ranges_are_those_of_the_training_split(tmp_path: Path) -> None:
    plan = planned(own_parts(tmp_path), dataset="dots", architecture=FLAT)
    loaded = plan.load()
    told = dataset_facts(plan, loaded)
    pixels = loaded["train"].raw().double()
    expected = [pixels.min(), pixels.mean(), pixels.std(correction=0), pixels.max()]
    assert list(told["ranges"].values()) == pytest.approx([float(x) for x in expected])
    prepared = told["prepared"]
    assert (prepared["mean"], prepared["sd"]) == (pytest.approx(0, abs=1e-5), pytest.approx(1, abs=1e-5))
    assert told["features"] == {}, "the pixels of an image have no names"


def test_each_feature_has_its_own_range_also_far_from_0(tmp_path: Path) -> None:
    told = of_leaking(tmp_path)
    assert list(told["features"]) == ["a", "always 7", "time"]
    assert told["features"]["time"]["mean"] == pytest.approx(1.7e9, abs=100)
    assert 50 < told["features"]["time"]["sd"] < 150, "a small difference of large numbers would lose it"
    assert told["features"]["always 7"]["sd"] == 0
    assert told["splits"]["test"]["target"]["max"] > told["splits"]["test"]["target"]["min"]


def test_what_is_missing_is_passed_over(tmp_path: Path) -> None:
    whole, holed = of_leaking(tmp_path), of_leaking(tmp_path, missing=True)
    assert holed["features"]["a"]["mean"] == pytest.approx(whole["features"]["a"]["mean"], abs=0.2)
    assert holed["features"]["time"] == whole["features"]["time"]


def test_what_should_make_one_look_twice_is_said(tmp_path: Path) -> None:
    assert of_leaking(tmp_path)["warnings"] == [
        "a row was dropped",
        "4 of the test inputs (40 %) are in train too, bit for bit: "
        "example 0 of test and example 10 of train, example 1 of test and example 11 of train, "
        "example 2 of test and example 12 of train and 1 more; "
        "remove the copies, or keep them in one split",
        "y can be told from one input alone: a (the same number in every row); if it comes after the target, "
        "list it under ignore",
        "constant in training, so nothing can be learnt from it: always 7",
    ]
    [unbalanced] = found(tmp_path, dataset="uneven")["warnings"]
    assert unbalanced == "the classes are unbalanced: 24 examples of a, 4 of c"
    assert not found(tmp_path, dataset="dots", architecture=FLAT)["warnings"]


def test_copies_are_found_in_every_split(tmp_path: Path) -> None:
    dataset = {"name": "dots", "valid_fraction": 0.25}
    plan = planned(own_parts(tmp_path), dataset=dataset, architecture=FLAT)
    loaded = plan.load()
    assert dataset_facts(plan, loaded)["warnings"] == []
    again = loaded["train"].raw(torch.tensor([0, 1, 2]))
    loaded["valid"].inputs[:3] = again  # type: ignore[attr-defined]
    [said] = dataset_facts(plan, loaded)["warnings"]
    assert said.startswith("3 of the valid inputs (") and "are in train too, bit for bit" in said


def test_ids_have_a_vocabulary_and_no_ranges() -> None:
    plan = planned(
        dataset={"name": "sentences", "count": 60, "window": 8},
        architecture={"name": "rnn", "hidden": 4},
        loss="cross_entropy",
    )
    found = dataset_facts(plan, plan.load())
    assert found["vocabulary"] == len(plan.data.vocabulary) > 20
    assert (found["ranges"], found["prepared"], found["features"]) == ({}, {}, {})
    assert sum(found["splits"]["train"]["classes"].values()) == 8 * found["splits"]["train"]["examples"]
