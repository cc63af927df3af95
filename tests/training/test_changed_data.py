"""A run that cannot go on says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

TABLE = """\
seeds: [0]
dataset: {{name: csv, path: {path}, target: y, task: {task}, categorical: [city], unknown: zeros}}
architecture: linear
loss: {loss}
optimizer: {{name: sgd, lr: 1e-3}}
epochs: 3
batch_size: 4
plots: []
"""
ROWS = "".join(f"{city},{y}\n" for city, y in zip("ABAB" * 10, "0110" * 10, strict=True))


def paused(dlrun: Any, write: Any, task: str, loss: str) -> Path:
    table: Path = write("table.csv", f"city,y\n{ROWS}")
    config = write("table.yaml", TABLE.format(path=table, task=task, loss=loss))
    assert dlrun("train", config, "--stop-after", 1).code == 0
    return table


@pytest.mark.parametrize(
    ("task", "loss", "more", "how"),
    [
        ("regression", "mse", "Z,1\n" * 20, "an input had 2 numbers, and now has 3"),
        ("classification", "cross_entropy", "A,7\n" * 20, "there were 2 classes, and now there is '7' too"),
        ("regression", "mse", "A,1\n", "its fingerprint was"),
    ],
)
def test_data_that_changed_is_said_as_data_that_changed(
    dlrun: Any, write: Any, task: str, loss: str, more: str, how: str
) -> None:
    table = paused(dlrun, write, task, loss)
    before = table.read_bytes()
    table.write_text(f"city,y\n{ROWS}{more}")
    done = dlrun("resume", "last")
    assert done.code == 4
    assert done.err.startswith(f"error: the data is not what this run was trained on: {how}")
    assert "fix: bring the data back" in done.err and "last.pt back" not in done.err
    table.write_bytes(before)
    assert dlrun("resume", "last").code == 0
