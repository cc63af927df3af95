"""`dlrun data --split` says of each example in which split it is."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

TABLE = """\
dataset: {{name: csv, path: {path}, target: y}}
architecture: linear
loss: mse
optimizer: {{name: sgd, lr: 1e-3}}
epochs: 1
batch_size: 8
plots: []
"""


def test_each_row_of_a_table_is_listed_with_its_split(
    dlrun: Callable[..., Any], write: Callable[[str, str], Path], tmp_path: Path
) -> None:
    table = write("table.csv", "x,y\n" + "".join(f"{n},{n * 7 % 50}\n" for n in range(50)))
    config, listed = write("table.yaml", TABLE.format(path=table)), tmp_path / "splits.csv"
    done = dlrun("data", config, "--split", listed, "--json")
    assert done.code == 0
    rows = list(csv.DictReader(listed.open()))
    assert [row["example"] for row in rows] == [f"row {line}" for line in range(2, 52)]
    counted = Counter(row["split"] for row in rows)
    splits = json.loads(done.out)["splits"]
    assert counted == {name: facts["examples"] for name, facts in splits.items()}


def test_examples_without_names_are_numbered(dlrun: Callable[..., Any], tiny: Path, tmp_path: Path) -> None:
    listed = tmp_path / "splits.csv"
    assert dlrun("data", tiny, "dataset.valid_fraction=0.2", "--split", listed, "--json").code == 0
    rows = list(csv.DictReader(listed.open()))
    assert {row["split"] for row in rows} == {"train", "valid", "test"}
    assert rows[0] == {"example": "train 1", "split": "train"}
