"""An epoch that is stopped goes on at its step, and everything is as if it had never been stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import (
    COSINE,
    FULL,
    NOW_AND_THEN,
    OPTIMIZER_OPTIONS,
    SMALL_CNN,
    STEPS,
    Listening,
    differences,
    go_on,
    interrupting,
    mostly_slow,
    outcome,
    own_parts,
    planned,
    started,
    trained,
)

from dlrun.errors import CheckpointRefused
from dlrun.training import run_writer
from dlrun.training.checkpoint import load_checkpoint, save_checkpoint

CHANGES = FULL | NOW_AND_THEN | {"epochs": 3, "schedule": COSINE}
KINDS: dict[str, dict[str, Any]] = {
    "apart": {},
    "stacked": {"stacked": True, "architecture": {"name": "mlp", "hidden": [8], "dropout": 0.3}},
    "float16": {"precision": "float16"},
    "lbfgs": {"optimizer": {"name": "lbfgs", "lr": 0.1} | OPTIMIZER_OPTIONS["lbfgs"]},
    "quick": {
        "architecture": {"name": "mlp", "hidden": [8], "dropout": 0.3},
        "augmentations": [],
        "seeds": [3, 5],
    },
    "by figures": {"schedule": {"name": "plateau", "patience": 1}, "patience": 2},
    "parts of a pass": {"epoch_examples": 40, "drop_last": True, "batch_size": 8},
    "images": {
        "dataset": "dots",
        "architecture": SMALL_CNN,
        "augmentations": [{"name": "crop", "padding": 1}, "mixup"],
        "metrics": ["accuracy", {"name": "f1"}],
    },
}


class Killed(Exception):
    """The process ends here."""


def kill() -> None:
    raise Killed


@pytest.mark.parametrize("kind", mostly_slow(KINDS, "apart", "stacked", "quick", "by figures", "images"))
def test_an_epoch_that_was_stopped_at_any_step_goes_on_after_it(
    kind: str, tmp_path: Path, save_always: None
) -> None:
    changes, parts = CHANGES | KINDS[kind], own_parts(tmp_path)
    counting = Listening()
    unbroken = trained(planned(parts, **changes), tmp_path, view=counting)
    each = counting.steps // unbroken.summary()["epochs"]
    for step in (1, 2, 3, 5) if kind == "apart" else (2, 7):
        run, before, after = started(planned(parts, **changes), tmp_path), interrupting(step), Listening()
        stopped = go_on(run, changes, parts, view=before)
        if step % each:
            done = {"epoch": step // each + 1, "steps": step % each, "saved": step % each}
            assert (stopped.exit_code, stopped.summary["within"]) == (130, done)
            assert load_checkpoint(run.last).state["epoch"] == step // each
        else:  # its last step: the epoch is finished
            assert stopped.summary["within"] is None and not run.step.exists()
        go_on(run, changes, parts, view=after)
        assert before.steps + after.steps == counting.steps, "a step was trained twice"
        assert not differences(outcome(unbroken), outcome(run)), step
        assert not run.step.exists()
    assert after.warnings == counting.warnings or kind != "apart"


def test_a_long_epoch_is_saved_now_and_then_and_not_lost_with_its_process(
    tmp_path: Path, save_always: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_writer, "SAVE_STEP_EVERY", 0)
    unbroken = trained(planned(**CHANGES), tmp_path)
    for step in (2, STEPS + 1, 3 * STEPS):
        run, after = started(planned(**CHANGES), tmp_path), Listening()
        with pytest.raises(Killed):
            go_on(run, CHANGES, view=Listening(step, kill))
        epoch, done = divmod(step - 1, STEPS)
        assert run.summary()["within"] == {"epoch": epoch + 1, "steps": done + 1, "saved": done}
        go_on(run, CHANGES, view=after)
        assert after.steps == 3 * STEPS - (step - 1)  # the one at which it was killed, again
        assert not differences(outcome(unbroken), outcome(run))


@pytest.fixture
def stopped(tmp_path: Path, save_always: None) -> Any:
    """A run that was stopped after the second step of its third epoch."""
    run = started(planned(**CHANGES), tmp_path)
    go_on(run, CHANGES, view=interrupting(2 * STEPS + 2))
    return run


def test_last_pt_is_of_a_whole_epoch_while_the_steps_of_the_next_are_saved_beside_it(stopped: Any) -> None:
    last, step = load_checkpoint(stopped.last), load_checkpoint(stopped.step)
    assert (last.state["epoch"], step.state["epoch"], step.state["within"]["step"]) == (2, 2, 2)
    assert "within" not in last.state
    assert step.state["seconds"] > last.state["seconds"]
    assert differences(last.state["model"], step.state["model"])


def test_an_epoch_after_one_that_is_not_saved_yet_is_trained_to_its_end(tmp_path: Path) -> None:
    run = started(planned(**CHANGES), tmp_path)
    done = go_on(run, CHANGES, view=interrupting(STEPS + 1))  # seconds before the next save
    assert (done.exit_code, done.summary["within"]) == (130, None)
    assert load_checkpoint(run.last).state["epoch"] == 2 and not run.step.exists()


def test_the_seconds_of_an_epoch_are_those_before_and_after_the_stop(stopped: Any) -> None:
    saved = load_checkpoint(stopped.step)
    within = saved.state["within"] | {"seconds": 1000.0}
    save_checkpoint(stopped.step, replace(saved, state=saved.state | {"within": within}))
    go_on(stopped, CHANGES)
    assert [seconds >= 1000 for seconds in stopped.rows()["seconds"]] == [False] * 4 + [True] * 2


def test_a_resumed_epoch_that_fails_says_how_many_of_its_steps_are_saved(
    tmp_path: Path, save_always: None
) -> None:
    run = started(planned(**CHANGES), tmp_path)
    go_on(run, CHANGES, view=interrupting(2 * STEPS + 1))
    with pytest.raises(Killed):
        go_on(run, CHANGES, view=Listening(1, kill))
    assert run.summary()["within"] == {"epoch": 3, "steps": 2, "saved": 1}


def test_a_run_that_is_to_end_before_its_steps_ends_without_them(tmp_path: Path, save_always: None) -> None:
    constant = CHANGES | {"schedule": "constant", "epochs": 2}
    shorter = trained(planned(**constant), tmp_path)
    run = trained(planned(**constant), tmp_path)
    go_on(run, constant | {"epochs": 3}, view=interrupting(2))
    assert run.step.exists()
    assert go_on(run, constant).summary["status"] == "finished"
    assert not differences(outcome(shorter), outcome(run))


def test_steps_that_cannot_be_read_are_said_and_trained_again(stopped: Any, tmp_path: Path) -> None:
    stopped.step.write_bytes(stopped.step.read_bytes()[:-100])
    view = Listening()
    go_on(stopped, CHANGES, view=view)
    assert view.steps == STEPS
    assert view.warnings[0].startswith("step.pt is skipped, and epoch 3 trained again: ")
    assert not differences(outcome(trained(planned(**CHANGES), tmp_path)), outcome(stopped))


def test_steps_of_an_earlier_epoch_are_passed_over(stopped: Any, tmp_path: Path) -> None:
    kept = stopped.step.read_bytes()
    more = CHANGES | {"schedule": "constant", "epochs": 5}
    run = started(planned(**more), tmp_path)
    go_on(run, more, stop_after=3)
    run.step.write_bytes(kept)
    view = Listening()
    go_on(run, more, view=view)
    assert view.steps == 2 * STEPS
    assert not differences(outcome(trained(planned(**more), tmp_path)), outcome(run))


def sums(steps: int) -> dict[str, torch.Tensor]:
    """The sums of as many steps, as a run of two seeds has them."""
    return {name: torch.zeros(steps, 2).double() for name in ("loss", "accuracy")}


MISFITS: dict[str, dict[str, Any]] = {
    "as many steps as an epoch has": {"step": STEPS, "sums": sums(STEPS)},
    "no step": {"step": 0},
    "steps of another seed": {"seeds": [3, 2]},
    "sums of fewer steps": {"sums": sums(1)},
    "sums of half the digits": {"sums": {name: each.float() for name, each in sums(2).items()}},
    "sums of another figure": {"sums": {"loss": sums(2)["loss"]}},
    "sums that are lists": {"sums": {"loss": [[0.5]], "accuracy": [[0.5]]}},
    "sums that are not finite": {"sums": dict.fromkeys(("loss", "accuracy"), torch.ones(2, 2).double() / 0)},
    "too few streams": {"dropout": []},
    "streams that are none": {"dropout": [torch.zeros(5056, dtype=torch.uint8)] * 2},
    "streams of numbers": {"augmentation": [torch.zeros(3)] * 2},
    "seconds without end": {"seconds": float("inf")},
    "something else": {"other": 1},
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_steps_that_do_not_fit_the_run_are_refused_with_the_way_to_do_without_them(
    misfit: str, stopped: Any, tmp_path: Path
) -> None:
    saved = load_checkpoint(stopped.step)
    within = saved.state["within"] | MISFITS[misfit]
    save_checkpoint(stopped.step, replace(saved, state=saved.state | {"within": within}))
    rows = stopped.metrics.read_bytes()
    with pytest.raises(CheckpointRefused) as refused:
        go_on(stopped, CHANGES)
    assert (refused.value.where, stopped.metrics.read_bytes()) == (str(stopped.step), rows)
    assert refused.value.fix == "delete it: the run then goes on after epoch 2"
    stopped.step.rename(stopped.last)
    with pytest.raises(CheckpointRefused) as refused:
        go_on(stopped, CHANGES)
    assert refused.value.where == str(stopped.last)


def test_a_run_goes_on_after_steps_that_do_not_fit_if_they_are_deleted(stopped: Any) -> None:
    saved = load_checkpoint(stopped.step)
    within = saved.state["within"] | {"step": STEPS}
    save_checkpoint(stopped.step, replace(saved, state=saved.state | {"within": within}))
    with pytest.raises(CheckpointRefused):
        go_on(stopped, CHANGES)
    stopped.step.unlink()
    assert go_on(stopped, CHANGES).summary["status"] == "finished"


def test_steps_that_cannot_be_saved_are_said_and_the_run_stops_all_the_same(
    tmp_path: Path, save_always: None
) -> None:
    run, view = started(planned(**CHANGES), tmp_path), interrupting(2 * STEPS + 2)
    (run.step / "in the way").mkdir(parents=True)
    done = go_on(run, CHANGES, view=view)
    assert (done.exit_code, done.summary["status"]) == (130, "interrupted")
    assert done.summary["within"] == {"epoch": 3, "steps": 2, "saved": 0}
    assert view.warnings[-1].startswith("the steps of epoch 3 are not saved: ")
