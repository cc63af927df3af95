"""Contestants of the benchmarks that take turns: one trains at a time, and what they say is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.turns import by_turns

TAKER = """
import sys
from pathlib import Path

from benchmarks.contestants._report import Epochs

name, log, count = sys.argv[1:]
epochs = Epochs()
for epoch in range(int(count)):
    with Path(log).open("a") as file:
        file.write(f"{name}{epoch} ")
    print("a line of its own")
    epochs.evaluated(1.0, 0.5)
epochs.report(name=name)
"""


@pytest.fixture
def taker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the contestant `taker`, which notes the order of all epochs in a file."""
    (tmp_path / "taker.py").write_text(TAKER, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_they_train_an_epoch_in_turn_there_and_back(taker: Path) -> None:
    log = taker / "log"
    contestants = {name: ["taker", name, str(log), "3"] for name in "AB"}
    [first, second] = by_turns(contestants, epochs=3, rounds=2)
    assert log.read_text().split() == 2 * ["B0", "A0", "A1", "B1", "B2", "A2"]
    for found in (first, second):
        assert {name: figures["name"] for name, figures in found.items()} == {"A": "A", "B": "B"}
        assert all(len(figures["losses"]) == 3 and figures["whole"] > 0 for figures in found.values())


def test_one_that_fails_is_said_at_once_and_the_others_end(taker: Path) -> None:
    contestants = {"A": ["taker", "A", str(taker / "log"), "3"], "B": ["taker", "B"]}
    with pytest.raises(RuntimeError, match="not enough values to unpack"):
        next(by_turns(contestants, epochs=3, rounds=1))
