"""The stretches of a run that was resumed elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dlrun.run_folders.run import Run

HERE = {"device": "cpu", "threads": 1, "machine": {}, "versions": {"torch": "2"}, "code": "abc", "more": 1}


@pytest.fixture
def other_torch(monkeypatch: pytest.MonkeyPatch) -> str:
    """From here on another PyTorch trains, or so it says."""
    monkeypatch.setattr("dlrun.training.stretches.versions", lambda: {"python": "3.99", "torch": "9.9"})
    return "9.9"


def test_a_run_that_is_resumed_as_it_was_is_one_stretch(dlrun: Any, tiny: Path, runs_dir: Path) -> None:
    dlrun("train", tiny, "--stop-after", 1)
    dlrun("resume", "last")
    [whole] = Run(runs_dir / "tiny-001").summary()["stretches"]
    assert whole["from_epoch"] == 1
    assert whole.keys() == {"from_epoch", "device", "threads", "machine", "versions", "code"}


def test_diff_and_reproduce_say_what_changed_when_a_run_was_resumed(
    dlrun: Any, tiny: Path, runs_dir: Path, request: pytest.FixtureRequest
) -> None:
    dlrun("train", tiny)
    dlrun("train", tiny, "--stop-after", 2)
    before = Run(runs_dir / "tiny-002").summary()["versions"]["torch"]
    other = request.getfixturevalue("other_torch")
    dlrun("resume", "tiny-002")
    summary = Run(runs_dir / "tiny-002").summary()
    assert [(each["from_epoch"], each["versions"]["torch"]) for each in summary["stretches"]] == [
        (1, before),
        (3, other),
    ]
    lines = dlrun("diff", "tiny-001", "tiny-002").out.splitlines()
    assert [" ".join(line.split()) for line in lines if line.startswith("torch")] == [
        f"torch {before} {before}, from epoch 3 {other}"
    ]
    again = dlrun("reproduce", "tiny-002")
    assert any(f"{before}, from epoch 3 {other}" in line for line in again.out.splitlines()), again


@pytest.mark.parametrize(
    ("before", "epoch", "first_epochs"),
    [
        pytest.param({}, 0, [1], id="a new run"),
        pytest.param({"versions": {"torch": "1"}}, 4, [1, 5], id="an earlier dlrun named none"),
        pytest.param({**HERE}, 4, [1], id="an earlier dlrun named none, and all is as it was"),
        pytest.param({"stretches": [{"from_epoch": 1}, {"from_epoch": 3}]}, 2, [1, 3], id="none trained"),
        pytest.param({"stretches": [{"from_epoch": 1}]}, 0, [1], id="begun anew"),
        pytest.param({"stretches": [7, {"from_epoch": "x"}, {}]}, 5, [6], id="nothing as dlrun writes it"),
        pytest.param({"stretches": 7, **HERE}, 5, [1], id="no list"),
    ],
)
def test_each_epoch_that_the_run_still_has_is_in_one_stretch(
    before: dict[str, Any], epoch: int, first_epochs: list[int]
) -> None:
    from dlrun.training.stretches import stretches_with

    found = stretches_with(before, epoch, HERE)
    assert [each["from_epoch"] for each in found] == first_epochs
    assert {key: found[-1][key] for key in HERE if key != "more"} == {k: HERE[k] for k in HERE if k != "more"}


def test_a_resume_that_trains_no_epoch_adds_no_stretch(
    dlrun: Any, tiny: Path, runs_dir: Path, other_torch: str
) -> None:
    dlrun("train", tiny)
    assert dlrun("resume", "last", "plots=[curves]").code == 0
    stretches = Run(runs_dir / "tiny-001").summary()["stretches"]
    assert [each["from_epoch"] for each in stretches] == [1]
