"""A wrong statement of a dataset about itself is named before anything is read or trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_runs import own_parts, planned

from dlrun.config.mistakes import ConfigError
from dlrun.errors import UserError

DATASET = '''
"""Points."""
import torch
from dlrun.data import Data, Examples, Preprocessing


def slip(root):
    """Two classes."""
    x, y = torch.randn(8, 2, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2

    def read():
        return {{name: Examples(x, y{examples}) for name in ("train", "test")}}

    def fit(training):
        {fit}

    return {made}
'''
GOOD = 'Data("classification", (2,), read, classes=("a", "b"), fit=fit)'
FITTED = "return Preprocessing(training.inputs.mean(0), training.inputs.std(0))"
STATED = {
    "3": "it returned an int instead of Data",
    GOOD.replace('"classification"', "None"): "Data states the task None, which must be a name",
    GOOD.replace("read,", "read(),"): "write read=read without parentheses",
    GOOD.replace(
        "read,", "lambda root: read(),"
    ): "read() of the dataset does not take what dlrun passes, nothing",
    GOOD.replace(
        "fit=fit", "fit=lambda: 1"
    ): "fit() of the dataset does not take what dlrun passes, training",
    GOOD.replace("fit=fit", "fit=1"): "fit() of the dataset is a int instead of a function",
    GOOD.replace("fit=fit", 'features=("x",)'): "Data states input_shape=(2,), but 1 features",
    GOOD.replace("fit=fit", "features=3"): "Data states features=3, which must be a tuple of names",
    GOOD.replace("fit=fit", 'splits="train"'): "Data states splits='train', which must be a tuple of names",
    GOOD.replace("fit=fit", "targets='x'"): "Data states targets='x', which must be a number of 1 or more",
    GOOD.replace("fit=fit", "valid_fraction=2"): "Data states valid_fraction=2",
}
READ = {
    ("", "pass"): "fit() returned a NoneType instead of Preprocessing(offset=…, scale=…)",
    ("", "return training.inputs.mean(0), 1"): "fit() returned a tuple instead of Preprocessing",
    ("", "return Preprocessing(0.5, 2.0)"): "fit() gives a float as offset: make it a tensor",
    (
        "",
        "return Preprocessing(training.inputs.mean(1))",
    ): "fit() gives offset of shape (8,), which suits no input of shape (2,)",
    ("", "return Preprocessing(scale=torch.zeros(2))"): "fit() gives a scale of 0",
    (", keys=torch.arange(3)", FITTED): "keys needs a whole number for each of the 8 examples",
    (", origin=[1, 2]", FITTED): "origin needs a whole number for each of the 8 examples",
}


@pytest.mark.parametrize("made", STATED)
def test_what_is_stated_wrongly_is_named_with_the_line_of_the_dataset(made: str, tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"dataset/slip.py": DATASET.format(examples="", fit=FITTED, made=made)})
    with pytest.raises(ConfigError) as refused:
        planned(parts, dataset="slip")
    [mistake] = refused.value.mistakes
    assert (mistake.key, mistake.where) == ("dataset", f"{parts.folder}/dataset/slip.py:6")
    assert STATED[made] in str(mistake)


@pytest.mark.parametrize("given", READ)
def test_what_is_read_or_fitted_wrongly_is_named_with_the_line_of_the_dataset(
    given: tuple[str, str], tmp_path: Path
) -> None:
    examples, fit = given
    parts = own_parts(tmp_path, {"dataset/slip.py": DATASET.format(examples=examples, fit=fit, made=GOOD)})
    plan = planned(parts, dataset="slip")
    with pytest.raises(UserError) as refused:
        plan.load()
    assert refused.value.where == f"{parts.folder}/dataset/slip.py:6"
    assert READ[given] in refused.value.what


def test_what_is_right_is_taken(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"dataset/slip.py": DATASET.format(examples="", fit=FITTED, made=GOOD)})
    assert len(planned(parts, dataset="slip").load()["train"]) == 8
