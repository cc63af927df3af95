"""max_time: no epoch begins that would pass it; --max-time: a call stops, and the next one goes on."""

from __future__ import annotations

from collections.abc import Callable
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


def test_a_run_that_a_time_stops_at_each_call_ends_as_the_unbroken_run(
    tmp_path: Path, ticking: list[float]
) -> None:
    changes: dict[str, Any] = {"epochs": 3, "seeds": [0, 1], "batch_size": 8, "max_time": "1h"}
    unbroken = trained(planned(**changes), tmp_path)
    run = trained(planned(**changes), tmp_path, stop_at=ticking[0] + 4)
    amid = run.summary()["within"]
    assert amid and amid["saved"] == amid["steps"], "it stops in an epoch, of which it saves the steps"
    calls = 1
    while run.unfinished.exists():
        assert ended(run)[::2] == ("interrupted", "its --max-time is over")
        done = go_on(run, changes, stop_at=ticking[0] + 4)
        assert done.exit_code == 0
        calls += 1
    assert calls > 3
    assert ended(run) == ("finished", 3, None)
    assert not differences(outcome(unbroken), outcome(run))


def test_the_time_of_a_call_is_counted_anew_and_leaves_the_config_alone(
    dlrun: Callable[..., Any], tiny: Path, runs_dir: Path
) -> None:
    command = ("train", tiny, "--name", "x", "--or-resume", "epochs=2")
    done = dlrun(*command, "--max-time", "0.001s")
    assert (done.code, "stopped after epoch 0, because its --max-time is over" in done.out) == (0, True)
    run = Run(runs_dir / "x-001")
    assert run.unfinished.exists() and "max_time: null" in run.config.read_text()
    assert "because its --max-time is over" in dlrun(*command, "--max-time", "0.001s", "-q").err
    assert dlrun("resume", "x", "--max-time", "1-00:00:00").code == 0
    assert not run.unfinished.exists()


@pytest.mark.parametrize("text", ["3:50", "230", "3:60:00", "0:00:00", "soon"])
def test_a_time_that_people_read_in_two_ways_is_refused(
    text: str, dlrun: Callable[..., Any], tiny: Path, runs_dir: Path
) -> None:
    done = dlrun("train", tiny, "--max-time", text)
    assert (done.code, runs_dir.exists()) == (2, False)
    assert done.err.startswith(f"error: {text!r} is not a duration\n  where: --max-time\n  fix: write 90m,")


def test_a_dry_run_has_no_time(dlrun: Callable[..., Any], tiny: Path) -> None:
    done = dlrun("train", tiny, "--max-time", "1h", "--quick")
    assert (done.code, "leave --max-time out" in done.err) == (2, True)
