"""Contestants of the benchmarks that take turns: one trains at a time, and what they say is reported."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import pytest

from benchmarks import turns
from benchmarks.turns import by_turns

TAKER = """
import os
import sys
from pathlib import Path

from benchmarks.contestants._report import Epochs

name, log, count = sys.argv[1:]
with Path(log).with_name("processes").open("a") as file:
    file.write(f"{os.getpid()} ")
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


def test_the_time_of_an_epoch_is_the_median_of_the_turns_after_the_first(
    taker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = (number**2 for number in count())  # the turns then take 1, 5, 9, 13, 17, 21, …
    monkeypatch.setattr(turns, "perf_counter", lambda: next(seconds))
    contestants = {name: ["taker", name, str(taker / "log"), "4"] for name in "AB"}
    [found] = by_turns(contestants, epochs=4, rounds=1)  # B A, A B, B A, A B
    assert {name: figures["whole"] for name, figures in found.items()} == {"A": 21, "B": 17}


def test_one_that_fails_is_said_at_once_and_the_others_end(taker: Path) -> None:
    contestants = {"A": ["taker", "A", str(taker / "log"), "3"], "B": ["taker", "B"]}
    with pytest.raises(RuntimeError, match="not enough values to unpack"):
        next(by_turns(contestants, epochs=3, rounds=1))
    [of_a] = map(int, (taker / "processes").read_text().split())
    with pytest.raises(ProcessLookupError):
        os.kill(of_a, 0)
