"""Tests of the benchmark of `threads: auto`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import threads
from benchmarks.sections import Goal


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def found(auto: int, **seconds: list[float]) -> dict[str, object]:
    return {
        "multiply_adds": 4_500_000,
        "auto": auto,
        "seconds": {name.removeprefix("on"): times for name, times in seconds.items()},
    }


def test_auto_is_compared_with_the_best_within_each_round() -> None:
    slowed_down = found(2, on1=[1.0, 2.0, 1.0], on2=[1.2, 2.4, 1.2])  # by something else, in round two
    assert threads.ratios(slowed_down) == pytest.approx([1.2, 1.2, 1.2])
    assert threads.ratios(found(2, on1=[1.0, 2.0, 1.0], on2=[0.5, 1.0, 0.5])) == [1, 1, 1]
    assert threads.ratios(found(3, on1=[4.0], on2=[2.0], on3=[3.0])) == [1.5], (
        "auto may choose another number"
    )


def test_the_page_says_where_auto_is_too_far_from_the_best() -> None:
    configs = {
        "near": found(1, on1=[1.24], on2=[1.0]),
        "far": found(1, on1=[1.26], on2=[1.0]),
        "elsewhere": {"not run": "MNIST is not here"},
    }
    measured = json.loads(json.dumps({"threads": [1, 2], "configs": configs}))
    near, far, elsewhere = threads.table(measured)[-3:]
    assert near.startswith("| `near` | 4.5 M | 1 | 1.24 s | 1 s | 1.24 |")
    assert "**1.26**" in far
    assert "MNIST is not here" in elsewhere
    goal: Goal = threads.GOALS[0]
    assert goal.figures(measured) == pytest.approx([1.26]), "the worst of all configs, not one in the middle"
    assert goal.row(measured)[-1] == "**no**"


def test_every_number_of_threads_has_its_turn_in_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "TURN", 1e-9)
    monkeypatch.setattr("dlrun.system.machine.cores", lambda: 8)
    measured = threads.in_turn("spiral_relu", 3, [2, 4])
    assert measured["auto"] == 1
    assert measured["multiply_adds"] == 3 * 500 * 3000
    assert {count: len(seconds) for count, seconds in measured["seconds"].items()} == {1: 3, 2: 3, 4: 3}
    assert min(min(seconds) for seconds in measured["seconds"].values()) > 0
    assert isinstance(measured["others"], float)


def test_the_page_names_what_other_programs_disturbed() -> None:
    configs = {
        "quiet": {"others": 0.01},
        "busy": {"others": 0.8},
        "elsewhere": {"not run": "it is for a GPU"},
    }
    assert threads.disturbed(configs)[-1].endswith("from `busy`.")
    assert not threads.disturbed({"quiet": configs["quiet"]})


def test_the_work_of_other_programs_is_told_from_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "cpu 9 9 9 9 9 9 9 9 0 0\ncpu0 5 5 5 5 5 5 5 5 0 0\ncpu1 100 20 30 900 40 1 2 47 0 0\nctxt 7\n"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {1})
    monkeypatch.setattr("os.sysconf", lambda _: 100)
    monkeypatch.setattr(threads, "process_time", lambda: 0.5)
    assert threads.by_others() == 2.0 - 0.5, "of our processors alone, and neither idle nor waiting"
