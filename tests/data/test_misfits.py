"""A mistake in a dataset of one's own is named with the remedy, before there is a run folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DATASET = '''
"""Ten points of two classes, or a number for each."""
import numpy as np
import torch
from dlrun.data import Data, Examples


def mine(root):
    """A dataset of one's own."""
    x, y = torch.linspace(-1, 1, 20).view(10, 2), torch.arange(10) % 2
    classes = ("a", "b")

    def read():
        train = Examples({inputs}, {targets})
        test = Examples(x.clone(), y.clone()) if "{task}" == "classification" else train
        return {read}
    return Data("{task}", {shape}, read, classes=classes if "{task}" == "classification" else (){more})
'''
USUAL = {
    "inputs": "x",
    "targets": "y",
    "shape": "(2,)",
    "task": "classification",
    "read": "{'train': train, 'test': test}",
    "more": "",
}
MISTAKES = {
    "labels from 1": ({"targets": "y + 1"}, "go from 1 to 2, but 2 classes are 0 to 1: subtract 1"),
    "more labels": ({"targets": "y + 3"}, "go from 3 to 4, but 2 classes are 0 to 1: state 5 classes"),
    "a negative label": ({"targets": "y - 1"}, "a class is never negative"),
    "labels in a column": ({"targets": "y.unsqueeze(1)"}, "remove the last axis, by .squeeze(1)"),
    "float labels": ({"targets": "y.float()"}, "are float32, but class numbers are int64: use .long()"),
    "narrow labels": ({"targets": "y.int()"}, "are int32, but class numbers are int64: use .long()"),
    "labels that are numbers": ({"targets": "y + 0.5"}, "these are no whole numbers"),
    "lengths that differ": ({"targets": "y[:7]"}, "there are 10 inputs and 7 targets"),
    "another width": ({"shape": "(3,)"}, "an input has the shape (2,), but Data states input_shape=(3,)"),
    "numpy inputs": ({"inputs": "x.numpy()"}, "the inputs are a numpy.ndarray: make them a tensor"),
    "a list of targets": ({"targets": "y.tolist()"}, "the targets are a list: make them a tensor"),
    "boolean inputs": ({"inputs": "x > 0"}, "the inputs are bool"),
    "a pair": ({"read": "{'train': (x, y), 'test': test}"}, "a tuple instead of Examples(inputs, targets)"),
    "no test": ({"read": "{'train': train}"}, "read() returned no test, which Data states"),
    "an unstated split": (
        {"read": "{'train': train, 'valid': test, 'test': test}"},
        'add splits=("train", "test", "valid") to Data',
    ),
    "a column for one of two features": (
        {"more": ", features=('a', 'b'), columns=('a',)"},
        "Data states 2 features, but columns for 1",
    ),
    "columns in a text": ({"more": ", features=('a', 'b'), columns='ab'"}, "states columns='ab'"),
    "a further column": (
        {"inputs": "x", "targets": "y, {'date': y[:3]}"},
        "aside['date'] needs a figure for each",
    ),
    "a guess for one of two targets": (
        {
            "task": "regression",
            "targets": "torch.stack([y, y], 1).float(), {'before': y.float()}",
            "more": ", targets=2, baselines=('before',)",
        },
        "the baseline aside['before'] has the shape (n), but Data states targets=2, and each needs a guess of"
        " its own: make it (n, 2), or take it out of baselines",
    ),
    "two guesses for one target": (
        {
            "task": "regression",
            "targets": "y.unsqueeze(1).float(), {'before': torch.stack([y, y], 1)}",
            "more": ", baselines=('before',)",
        },
        "the baseline aside['before'] has the shape (n, 2), but Data states targets=1",
    ),
    "a guess that is not there": (
        {
            "task": "regression",
            "targets": "y.unsqueeze(1).float(), {'after': y}",
            "more": ", baselines=('before',)",
        },
        "aside has no 'before', which Data states in baselines",
    ),
    "whole numbers of a regression": (
        {"task": "regression", "targets": "y.unsqueeze(1)"},
        "are int64, but those of a regression are float32: use .float()",
    ),
    "a vector of a regression": (
        {"task": "regression", "targets": "y.float()"},
        "add an axis, by .unsqueeze(1)",
    ),
    "too many numbers": (
        {"task": "regression", "targets": "torch.stack([y, y], 1).float()"},
        "the targets have the shape (n, 2), but Data states targets=1: (n, 1)",
    ),
    "an unknown task": ({"task": "clasification"}, "there is no task/clasification.py; did you mean"),
}


@pytest.fixture
def train(dlrun: Callable[..., Any], tmp_path: Path, runs_dir: Path) -> Callable[[dict[str, str]], Any]:
    def run(changes: dict[str, str]) -> Any:
        path = tmp_path / "parts" / "dataset" / "mine.py"
        path.parent.mkdir(parents=True)
        text = DATASET
        for name, value in (USUAL | changes).items():
            text = text.replace("{" + name + "}", value)
        path.write_text(text.lstrip())
        is_of_classes = changes.get("task", "classification") != "regression"
        config = tmp_path / "mine.yaml"
        config.write_text(
            "dataset: mine\narchitecture: linear\noptimizer: {name: sgd, lr: 0.1}\nepochs: 1\nbatch_size: 5\n"
            f"plots: []\nloss: {'cross_entropy' if is_of_classes else 'mse'}\n"
        )
        return dlrun("train", config, "--parts", tmp_path / "parts")

    return run


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_remedy(name: str, train: Any, runs_dir: Path) -> None:
    changes, said = MISTAKES[name]
    done = train(changes)
    assert (done.code, "report this" in done.err) == (2, False), done.err
    assert said in done.err
    assert not list(runs_dir.glob("*"))


def test_the_file_of_the_dataset_is_named(train: Any) -> None:
    assert "dataset/mine.py" in train({"targets": "y + 1"}).err


@pytest.mark.parametrize("changes", [{}, {"task": "regression", "targets": "y.float().unsqueeze(1)"}])
def test_examples_as_stated_are_trained_on(changes: dict[str, str], train: Any) -> None:
    assert train(changes).code == 0
