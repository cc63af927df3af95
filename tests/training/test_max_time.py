"""max_time: no epoch begins that would pass it, and a resume with more goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_runs import differences, go_on, outcome, planned, trained

from dlrun.errors import UserError
from dlrun.run_folders.run import Run
from dlrun.training import experiment
from dlrun.training.early_stopping import is_complete


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock of training by which each look at it takes a second."""
    seconds = [0.0]

    class Clock:
        @staticmethod
        def monotonic() -> float:
            seconds[0] += 1.0
            return seconds[0]

    monkeypatch.setattr(experiment, "time", Clock)
    return seconds


def ended(run: Run) -> tuple[str, int, str | None]:
    summary = run.summary()
    return summary["status"], summary["epochs"], summary["reason"]


def test_a_run_ends_before_an_epoch_that_would_pass_max_time(tmp_path: Path, ticking: list[float]) -> None:
    run = trained(planned(epochs=9, max_time="3s"), tmp_path)
    assert ended(run) == ("stopped early", 3, "one more epoch would take longer than max_time, 3s")
    assert run.best.exists() and len(run.rows()["epoch"]) == 3


def test_a_first_epoch_is_always_trained(tmp_path: Path, ticking: list[float]) -> None:
    assert ended(trained(planned(epochs=9, max_time="0.5s"), tmp_path))[:2] == ("stopped early", 1)


def test_with_enough_time_all_epochs_are_trained(tmp_path: Path, ticking: list[float]) -> None:
    for most in ("4s", "1h", None):
        assert ended(trained(planned(epochs=4, max_time=most), tmp_path)) == ("finished", 4, None)


def test_a_resume_with_more_time_ends_as_the_unbroken_run(tmp_path: Path, ticking: list[float]) -> None:
    changes: dict[str, Any] = {"epochs": 6, "seeds": [0, 1], "patience": 5}
    unbroken = trained(planned(**changes), tmp_path)
    run = trained(planned(**changes, max_time="2s"), tmp_path)
    assert ended(run)[1] == 2
    before = outcome(run)
    assert go_on(run, changes | {"max_time": "2s"}).summary["already_complete"]
    assert not differences(before, outcome(run))
    go_on(run, changes | {"max_time": "4s"})
    assert ended(run)[:2] == ("stopped early", 4)
    go_on(run, changes | {"max_time": None})
    assert ended(run)[:2] == ("finished", 6)
    assert not differences(outcome(unbroken), outcome(run))


def test_more_epochs_are_refused_while_the_time_is_up(tmp_path: Path, ticking: list[float]) -> None:
    run = trained(planned(epochs=6, max_time="2s"), tmp_path)
    with pytest.raises(UserError) as raised:
        go_on(run, {"epochs": 8, "max_time": "2s"})
    assert raised.value.fix == "raise max_time too, or set max_time=null"


def test_claims_are_not_judged_if_the_time_was_up(tmp_path: Path, ticking: list[float]) -> None:
    claims = {"expect": {"train_accuracy": ">= 0.99"}}
    run = trained(planned(epochs=9, max_time="2s", **claims), tmp_path)
    [verdict] = run.summary()["expect"]
    assert verdict["met"] is None
    assert verdict["why"] == "max_time ended the run after 2 of 9 epochs"
    assert not verdict["check_judges"], "--check would not judge it either"


def test_an_epoch_that_was_begun_is_trained_to_its_end() -> None:
    plan = planned(epochs=9, max_time="2s")
    state = plan.state(plan.hardware())
    state.epoch, state.seconds = 2, 2.0
    assert is_complete(plan, state)
    state.steps_before = {"step": 1}
    assert not is_complete(plan, state)
