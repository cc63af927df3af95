"""A mistake that a part finds is said at the option which it is of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CONFIG = """\
dataset:
  name: csv
  path: T.csv
  target: {target}
  {option}
architecture: linear
loss: mse
optimizer: {{name: sgd, lr: 1e-2}}
epochs: 1
batch_size: 8
"""


@pytest.mark.parametrize(
    ("target", "option", "place"),
    [
        ("price", "unit: EUR", "own.yaml:4:11 dataset.target: there is no column 'price'"),
        ("[y, price]", "unit: price", "own.yaml:4:11 dataset.target: there is no column 'price'"),
        ("9", "unit: EUR", "own.yaml:4:11 dataset.target: there is no column 9"),
        ("y", "baselines: {old: b}", "own.yaml:5:14 dataset.baselines: there is no column 'b'"),
    ],
)
def test_a_column_that_is_missing_is_said_where_the_config_names_it(
    target: str,
    option: str,
    place: str,
    dlrun: Callable[..., Any],
    write: Callable[[str, str], Path],
) -> None:
    write("T.csv", "a,y\n" + "".join(f"{x},{2 * x}\n" for x in range(20)))
    path = write("own.yaml", CONFIG.format(target=target, option=option))
    done = dlrun("train", path)
    assert (done.code, place in done.err) == (2, True), done.err
    chosen = dlrun("train", path, "dataset.target=cost")
    assert "on the command line: dataset.target: there is no column 'cost'" in chosen.err
