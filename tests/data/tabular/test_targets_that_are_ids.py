"""A target that is an id is named as such, by whatever way it came to be one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CONFIG = """\
dataset: {{name: csv, path: T.csv, target: {target}{more}}}
architecture: mlp
loss: cross_entropy
optimizer: {{name: sgd, lr: 1e-2}}
epochs: 1
batch_size: 8
"""
ID = "name another target: this one is different in nearly every row, as an id is"
NUMBER = "for numbers set task: regression"


@pytest.mark.parametrize(
    ("target", "more", "fix"),
    [
        ("key", "", ID),
        ("key", ", task: classification", ID),
        ("key", ", task: classification, split_rule: drawn", ID),
        ("key", ", read: strict", ID),
        ("price", ", task: classification", NUMBER),
        ("city", "", "for names of classes set task: classification"),
    ],
)
def test_each_step_says_that_the_target_differs_in_every_row(
    target: str,
    more: str,
    fix: str,
    dlrun: Callable[..., Any],
    write: Callable[[str, str], Path],
) -> None:
    rows = "".join(f"K{x},{x % 7},{x + 0.25},{'ab'[x % 2]}\n" for x in range(60))
    write("T.csv", f"key,a,price,city\n{rows}")
    done = dlrun("train", write("own.yaml", CONFIG.format(target=target, more=more)))
    assert (done.code, fix in done.err) == (2, True), done.err
    assert "add rows" not in done.err


def test_a_column_that_a_validation_split_would_have_is_said_with_the_option_that_makes_one(
    dlrun: Callable[..., Any], write: Callable[[str, str], Path]
) -> None:
    write("T.csv", "a,y\n" + "".join(f"{x},{x}\n" for x in range(60)))
    text = CONFIG.format(target="y", more=", valid_fraction: 0").replace("cross_entropy", "mse")
    config = write("own.yaml", text)
    done = dlrun("train", config, "monitor=valid_loss")
    assert (
        "valid_loss is never measured" in done.err
        and "set dataset.valid_fraction, such as to 0.1" in done.err
    )
    assert dlrun("train", config, "monitor=valid_loss", "dataset.valid_fraction=0.1", "plots=[]").code == 0


def test_a_fraction_that_is_set_is_not_advised_to_be_set(
    dlrun: Callable[..., Any], write: Callable[[str, str], Path]
) -> None:
    write("T.csv", "a,y\n" + "".join(f"{x},{x}\n" for x in range(6)))
    text = CONFIG.format(target="y", more=", valid_fraction: 0.2").replace("cross_entropy", "mse")
    done = dlrun("train", write("own.yaml", text), "patience=1", "plots=[]")
    assert done.code == 0
    assert "6 rows are too few for a validation split" in done.out
    assert "there is no validation split: best.pt and patience go by train_loss" in done.out
    assert "set dataset.valid_fraction" not in done.out
