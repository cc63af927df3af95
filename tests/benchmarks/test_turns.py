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


def test_they_train_an_epoch_in_turn_in_an_order_that_favours_none(taker: Path) -> None:
    log = taker / "log"
    contestants = {name: ["taker", name, str(log), "8"] for name in "ABC"}
    [first, second] = by_turns(contestants, epochs=8, rounds=2)
    turns_of = [log.read_text().split()[start : start + 3] for start in range(0, 48, 3)]
    for number, of_epoch in enumerate(turns_of):
        assert sorted(of_epoch) == [f"{name}{number % 8}" for name in "ABC"]
    assert {of_epoch[0][0] for of_epoch in turns_of} == {of_epoch[2][0] for of_epoch in turns_of} == {*"ABC"}
    for found in (first, second):
        assert {name: figures["name"] for name, figures in found.items()} == {name: name for name in "ABC"}
        assert all(len(figures["losses"]) == 8 and figures["whole"] > 0 for figures in found.values())


def test_the_time_of_an_epoch_is_the_median_of_the_turns_after_the_first(
    taker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = (number**2 for number in count())
    monkeypatch.setattr(turns, "perf_counter", lambda: next(seconds))
    contestants = {name: ["taker", name, str(taker / "log"), "4"] for name in "AB"}
    [found] = by_turns(contestants, epochs=4, rounds=1)
    took = dict(zip((taker / "log").read_text().split(), (1, 5, 9, 13, 17, 21, 25, 29), strict=True))
    for name in "AB":
        assert found[name]["whole"] == sorted(took[f"{name}{epoch}"] for epoch in (1, 2, 3))[1]


def test_one_that_fails_is_said_at_once_and_the_others_end(taker: Path) -> None:
    contestants = {"A": ["taker", "A", str(taker / "log"), "3"], "B": ["taker", "B"]}
    with pytest.raises(RuntimeError, match="not enough values to unpack"):
        next(by_turns(contestants, epochs=3, rounds=1))
    [of_a] = map(int, (taker / "processes").read_text().split())
    with pytest.raises(ProcessLookupError):
        os.kill(of_a, 0)
