"""Rows T15 to T20: a run goes on as if it had never stopped, or is refused with the reason."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from processes import PATIENCE, Started, crash_at_step, until
from small_runs import (
    COSINE,
    FULL,
    OPTIMIZER_OPTIONS,
    STEPS,
    Listening,
    child,
    differences,
    go_on,
    mostly_slow,
    outcome,
    planned,
    saved_epoch,
    started,
    timeless,
    trained,
    tree,
)

from dlrun.config.dumping import dump_config
from dlrun.config.keys import KEYS, may_change_at_resume
from dlrun.config.loading import load_config
from dlrun.config.registry import Parts
from dlrun.errors import CheckpointRefused, RunFailed
from dlrun.run_folders.locating import create_run
from dlrun.run_folders.run import Run
from dlrun.system import locks
from dlrun.system.processes import identity
from dlrun.training.checkpoint import load_checkpoint, save_checkpoint
from dlrun.training.experiment import train_run
from dlrun.training.views import HiddenTraining

Dlrun = Callable[..., Any]
Write = Callable[[str, str], Path]
THREE = FULL | {"epochs": 3}
MILESTONES = {"name": "milestones", "at": [1, 2]}


def refused(done: Any, code: int) -> str:
    """The first line of an error of this code, which is short and no traceback."""
    assert (done.code, done.out) == (code, "")
    first = str(done.err.splitlines()[0])
    assert first.startswith("error: ")
    return first


@pytest.fixture
def complete(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> Run:
    """A run of the tiny config to its end."""
    assert dlrun("train", tiny).code == 0
    return Run(runs_dir / "tiny-001")


# ------------------------------------------------------------------------ T15: at every step


@pytest.mark.row("T15")
@pytest.mark.parametrize(
    "evaluating", [{"evaluate_every": 1, "evaluate_train_every": 2}, {"evaluate_every": 9}]
)
def test_killed_at_every_step_a_run_ends_the_same(
    fault: Any, tmp_path: Path, evaluating: dict[str, Any]
) -> None:
    changes = THREE | evaluating
    unbroken = trained(planned(**changes), tmp_path)
    for step in fault.random.sample(range(1, 3 * STEPS + 1), fault.times(2, 3 * STEPS)):
        killed_at(step, changes, unbroken, tmp_path, fault)


KINDS_OF_OPTIMIZERS = ("adam", "lbfgs", "muon", "sam")  # the others by default in test_experiment.py


@pytest.mark.row("T15")
@pytest.mark.parametrize("optimizer", mostly_slow(Parts().names("optimizer"), *KINDS_OF_OPTIMIZERS))
def test_whatever_the_optimizer_and_schedule_a_run_that_was_killed_ends_the_same(
    fault: Any, tmp_path: Path, optimizer: str
) -> None:
    """By default each optimizer with one schedule, which is another one for each."""
    schedules, number = Parts().names("schedule"), Parts().names("optimizer").index(optimizer)
    for schedule in schedules if fault.thorough else [schedules[number % len(schedules)]]:
        changes = THREE | {
            "optimizer": {"name": optimizer, "lr": 0.02} | OPTIMIZER_OPTIONS.get(optimizer, {}),
            "schedule": {"cosine": COSINE, "milestones": MILESTONES}.get(schedule, schedule),
        }
        unbroken = trained(planned(**changes), tmp_path)
        every = range(1, 3 * STEPS + 1)
        for step in every if fault.thorough else fault.random.sample(every[3:], 1):
            killed_at(step, changes, unbroken, tmp_path, fault)
        fault.count(combinations=1)


PRACTICE: dict[str, dict[str, Any]] = {
    "ema": {"average": "ema"},
    "swa": {"average": {"name": "swa", "start": 0.3}},
    "micro_batch": {"micro_batch": 5},
    "mixup": {"augmentations": ["noise", "mixup"]},
    "plateau": {"schedule": {"name": "plateau", "patience": 1}},
    "freeze_epochs": {"freeze": ["0.*"], "freeze_epochs": 1},
    "folds": {"dataset": {"name": "spiral", "points": 20, "folds": 3, "fold": 1}},
}


@pytest.mark.row("T15")
@pytest.mark.parametrize("what", mostly_slow(PRACTICE, "swa", "micro_batch", "plateau"))
def test_whatever_makes_it_learn_better_a_run_that_was_killed_ends_the_same(
    fault: Any, tmp_path: Path, what: str
) -> None:
    changes = THREE | PRACTICE[what]
    unbroken = trained(planned(**changes), tmp_path)
    every = range(1, 3 * STEPS + 1)
    for step in every if fault.thorough else fault.random.sample(every[3:], 1):
        killed_at(step, changes, unbroken, tmp_path, fault)


def killed_at(step: int, changes: dict[str, Any], unbroken: Run, folder: Path, fault: Any) -> None:
    """Kill a new run of `changes` in the middle of a step, go on to the end, and compare."""
    run = started(planned(**changes), folder)
    process = child(crash_at_step, str(run.folder), changes, step)
    process.join(PATIENCE)
    assert process.exitcode == 77
    fault.count(kills=1)
    fault.never(lost=(step - 1) // STEPS - saved_epoch(run))
    go_on(run, changes)
    fault.never(different=differences(outcome(unbroken), outcome(run)))


# ------------------------------------------------------------------------ T16: evaluation


@pytest.mark.row("T16")
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_evaluating_changes_nothing_about_training(fault: Any, tmp_path: Path, precision: str) -> None:
    """Never, at every epoch or at every third, the training set too: the same weights and moments."""
    ways: list[dict[str, Any]] = [
        {"evaluate_every": 100},
        {"evaluate_every": 1},
        {"evaluate_every": 3},
        {"evaluate_every": 2, "evaluate_train_every": 2},
    ]
    found = []
    for way in ways:
        run = trained(planned(**THREE | {"epochs": 7, "precision": precision} | way), tmp_path)
        rows = run.rows()
        every = way["evaluate_every"]
        measured = {
            epoch for epoch, loss in zip(rows["epoch"], rows["valid_loss"], strict=True) if loss is not None
        }
        assert measured == {*range(every, 8, every), 7}  # and after the last one
        state = load_checkpoint(run.last).state
        found.append(
            {name: state[name] for name in ("model", "optimizer", "scaler")}
            | {"train_loss": rows["train_loss"]}
        )
        fault.count(ways=1)
        fault.never(different=differences(found[0], found[-1]))


# ------------------------------------------------------------------------ T17: elsewhere


ELSEWHERE = {  # what a checkpoint says of where it was trained, and what is said of it here
    "threads": ("7", "threads was 7, now 1"),
    "gpu": ("NVIDIA H100", "gpu was NVIDIA H100, now none"),
    "torch": ("2.10.0", "torch was 2.10.0, now "),
    "processor": ("an abacus", "processor was an abacus, now "),
}


@pytest.fixture
def paused(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> Run:
    """A run that stopped after two of its three epochs."""
    assert dlrun("train", tiny, "threads=1", "device=cpu", "--stop-after", 2).code == 0
    return Run(runs_dir / "tiny-001")


def trained_elsewhere(run: Run, **environment: str) -> None:
    """Have last.pt say that it was trained somewhere else."""
    saved = load_checkpoint(run.last)
    save_checkpoint(run.last, replace(saved, environment=saved.environment | environment))


def warnings(done: Any) -> list[str]:
    said = [line for line in done.out.splitlines() if line.startswith("warning: ")]
    return [line for line in said if "is worse than the baseline" not in line]  # a tiny run may be


@pytest.mark.row("T17")
@pytest.mark.parametrize("key", ELSEWHERE)
def test_what_the_bits_depend_on_is_said_in_a_line_and_refused_where_that_is_asked_for(
    fault: Any, dlrun: Dlrun, paused: Run, key: str
) -> None:
    before, said = ELSEWHERE[key]
    trained_elsewhere(paused, **{key: before})
    files = tree(paused.folder)
    done = dlrun("resume", "last", "--strict")
    assert said in refused(done, 4)
    assert f"  where: {paused.last}\n" in done.err
    assert "without --strict" in done.err
    assert f"  resume: dlrun resume {paused.folder}\n" in done.err
    assert tree(paused.folder) == files
    done = dlrun("resume", "last")
    assert (done.code, done.err) == (0, "")
    [line] = warnings(done)
    assert said in line
    assert line in (paused.folder / "log.txt").read_text()
    fault.count(differences=1)


@pytest.mark.row("T17")
def test_all_that_is_another_is_said_in_one_line(fault: Any, dlrun: Dlrun, paused: Run) -> None:
    trained_elsewhere(paused, **{key: before for key, (before, _) in ELSEWHERE.items()})
    [line] = warnings(dlrun("resume", "last"))
    assert all(said in line for _, said in ELSEWHERE.values())


@pytest.mark.row("T17")
def test_where_nothing_is_another_nothing_is_said_and_nothing_refused(
    fault: Any, dlrun: Dlrun, paused: Run
) -> None:
    done = dlrun("resume", "last", "--strict")
    assert (done.code, done.err) == (0, "")
    assert warnings(done) == []
    assert dlrun("resume", "last", "--strict").code == 0


@pytest.mark.row("T17")
def test_other_threads_are_really_others(fault: Any, dlrun: Dlrun, paused: Run) -> None:
    assert "threads was 1, now 2" in refused(dlrun("resume", "last", "threads=2", "--strict"), 4)
    assert "warning: threads was 1, now 2: the bits may differ" in dlrun("resume", "last", "threads=2").out


@pytest.mark.row("T17")
def test_a_run_that_trained_nothing_yet_may_begin_anywhere(fault: Any, tmp_path: Path) -> None:
    run = started(planned(), tmp_path)
    stopped = go_on(run, {}, view=Listening(1, lambda: signal.raise_signal(signal.SIGINT)))
    assert stopped.summary["epochs"] == 0
    trained_elsewhere(run, threads="7")
    view = Listening()
    assert go_on(run, {}, view=view, strict=True).exit_code == 0
    assert view.warnings == []


TABLE = "x,y,class\n" + "".join(f"{n},{n * n % 7},{'ab'[n % 2]}\n" for n in range(40))


@pytest.mark.row("T17")
@pytest.mark.parametrize("strict", [(), ("--strict",)])
def test_other_data_are_refused_always(
    fault: Any, dlrun: Dlrun, tiny: Path, runs_dir: Path, write: Write, strict: tuple[str, ...]
) -> None:
    """One figure in one cell of one row."""
    table = write("table.csv", TABLE)
    of_table = f"dataset={{name: csv, path: {table}, target: class, task: classification}}"
    assert dlrun("train", tiny, of_table, "--stop-after", 2).code == 0
    run = Run(runs_dir / "tiny-001")
    old = str(load_checkpoint(run.last).data["fingerprint"])
    write("table.csv", TABLE.replace("17,2,b", "17,3,b"))
    files = tree(run.folder)
    done = dlrun("resume", "last", *strict)
    said = refused(done, 4)
    assert "the data is not what this run was trained on" in said
    assert f"its fingerprint was {old}, now " in said
    assert tree(run.folder) == files
    write("table.csv", TABLE)
    assert dlrun("resume", "last", *strict).code == 0
    fault.count(differences=1)


@pytest.mark.row("T17")
def test_other_test_data_are_refused_too(fault: Any, tmp_path: Path) -> None:
    run, plan = trained(planned(), tmp_path, stop_after=1), planned()

    def changed() -> Any:
        splits = plan.data.read()
        splits["test"].inputs[17, 1] += 0.001
        return splits

    other = replace(plan, data=replace(plan.data, read=changed))
    with pytest.raises(CheckpointRefused, match="data is not what this run was trained on"):
        train_run(other, run, HiddenTraining())
    train_run(plan, run, HiddenTraining())


# ------------------------------------------------------------------------ T18: another config


# Every key that makes it another run, with another value and what is then said of it.
ANOTHER = {
    "seeds": ("[0, 1]", "seeds (was [0], now [0, 1])"),
    "precision": ("bfloat16", "precision (was float32, now bfloat16)"),
    "stacked": ("true", "stacked (was False, now True)"),
    "compile": ("true", "compile (was False, now True)"),
    "dataset": ("{name: spiral, points: 21}", "dataset.points (was 20, now 21)"),
    "augmentations": ("[noise]", "augmentations (was [], now ["),
    "architecture": ("{name: mlp, hidden: [5]}", "architecture.hidden (was [4], now [5])"),
    "loss": ("nll", "loss (was "),
    "optimizer": ("{name: adam, lr: 0.5}", "optimizer.lr (was 0.01, now 0.5)"),
    "schedule": ("cosine", "schedule (was constant, now "),
    "keep": ("3", "keep (was None, now 3)"),
    "keep_every": ("2", "keep_every (was None, now 2)"),
    "average": ("ema", "average (was none, now "),
    "gradient_clip": ("1.0", "gradient_clip (was None, now 1.0)"),
    "batch_size": ("8", "batch_size (was 32, now 8)"),
    "micro_batch": ("5", "micro_batch (was None, now 5)"),
    "epoch_examples": ("7", "epoch_examples (was None, now 7)"),
    "sampling": ("balanced", "sampling (was shuffled, now balanced)"),
    "drop_last": ("true", "drop_last (was False, now True)"),
    "limit": ("0.5", "limit (was None, now 0.5)"),
    "evaluation_batch_size": ("7", "evaluation_batch_size (was 1024, now 7)"),
    "evaluate_every": ("2", "evaluate_every (was 1, now 2)"),
    "evaluate_train_every": ("1", "evaluate_train_every (was None, now 1)"),
    "metrics": ("[]", "metrics (was "),
    "monitor": ("train_accuracy", "monitor (was None, now train_accuracy)"),
    "groups": ("[{match: '*.bias', lr: 0.1x}]", "groups (was []"),
    "task": ("classification", "task (was None, now classification)"),
    "freeze": ("['0.*']", "freeze (was []"),
    "layer_decay": ("0.5", "layer_decay (was None, now 0.5)"),
}
# Those that another key or a convolution is needed for: without it they are refused in any run.
DEPENDENT = (
    "channels_last",
    "freeze_epochs",
    "no_decay",
    "gradient_clip_mode",
    "min_delta",
    "patience_warmup",
)
# Those that may be others, since what is learnt does not depend on them.
ALLOWED = {
    "epochs": "5",
    "device": "cpu",
    "threads": "2",
    "processes": "1",
    "process_timeout": "1h",
    "graph": "false",
    "plots": "[curves]",
    "expect": "{train_loss: '< 100'}",
    "expect_epochs": "3",
    "not_judged": "{train_loss: its rate was changed}",
    "track": "[]",  # or others, see test_live.py
    "max_time": "1h",
    "patience": "null",  # it may be raised, see test_early_stopping.py
    "name": "another",
}


def test_every_key_of_a_config_may_be_another_or_may_not() -> None:
    assert ANOTHER.keys() | ALLOWED.keys() | {*DEPENDENT} == KEYS.keys()
    assert {key for key in KEYS if may_change_at_resume(key)} == ALLOWED.keys()
    assert may_change_at_resume("dataset.path") and may_change_at_resume("loss.teacher")
    assert not may_change_at_resume("dataset.seed")


@pytest.mark.row("T18")
def test_a_run_cannot_go_on_as_another_run(fault: Any, dlrun: Dlrun, complete: Run) -> None:
    """A changed key is treated alike on the command line and in the run's config.yaml."""
    files, text = tree(complete.folder), complete.config.read_text()
    for key, (value, said) in ANOTHER.items():
        done = dlrun("resume", "tiny", "epochs=4", f"{key}={value}")
        assert refused(done, 2).startswith(f"error: a run cannot be resumed with another {said}")
        assert f"  where: {complete.config}\n" in done.err
        assert "start a new run" in done.err
        assert tree(complete.folder) == files
        complete.config.write_text(dump_config(load_config(complete.config, [f"{key}={value}"])))
        done = dlrun("resume", "tiny")
        assert refused(done, 2).startswith(f"error: a run cannot be resumed with another {said}")
        complete.config.write_text(text)
        files = tree(complete.folder)
        fault.count(keys=1)


@pytest.mark.row("T18")
def test_every_key_that_differs_is_listed(fault: Any, dlrun: Dlrun, complete: Run) -> None:
    done = dlrun("resume", "tiny", "seeds=[1]", "batch_size=8", "loss=nll", "dataset.noise=0")
    assert refused(done, 2) == (
        "error: a run cannot be resumed with another seeds (was [0], now [1]), "
        "dataset.noise (was 0.2, now 0.0), loss (was cross_entropy, now nll), "
        "batch_size (was 32, now 8)"
    )
    done = dlrun("resume", "tiny", f"seeds={list(range(1000))}")
    assert len(refused(done, 2)) < 150


@pytest.mark.row("T18")
def test_epochs_may_only_grow(fault: Any, dlrun: Dlrun, complete: Run) -> None:
    files = tree(complete.folder)
    done = dlrun("resume", "tiny", "epochs=2")
    assert "epochs=2 is less than the 3 of this run" in refused(done, 2)
    assert tree(complete.folder) == files


@pytest.mark.row("T18")
def test_what_cannot_change_what_is_learnt_may_change(
    fault: Any, dlrun: Dlrun, complete: Run, tiny: Path, runs_dir: Path, tmp_path: Path
) -> None:
    dlrun("train", tiny, "epochs=5", "--name", "whole")
    whole = timeless(Run(runs_dir / "whole-001").rows())
    for key, value in ALLOWED.items():
        run = Run(shutil.copytree(complete.folder, tmp_path / key))
        done = dlrun("resume", run.folder, "epochs=5", f"{key}={value}")
        assert (done.code, done.err) == (0, "")
        assert run.rows()["epoch"] == [1, 2, 3, 4, 5]
        fault.count(keys=1)
        if key != "threads":  # which change the last bits
            fault.never(different=timeless(run.rows()) != whole)


# ------------------------------------------------------------------------ T19: complete, missing, without


@pytest.mark.row("T19")
def test_a_complete_run_is_left_as_it_is(fault: Any, dlrun: Dlrun, complete: Run) -> None:
    files = tree(complete.folder)
    done = dlrun("resume", "last")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"already complete after epoch 3: {complete.folder}\n"
    assert tree(complete.folder) == files
    fault.count(tries=1)


@pytest.mark.row("T19")
@pytest.mark.usefixtures("complete")
def test_a_run_that_is_not_there_is_said(fault: Any, dlrun: Dlrun, runs_dir: Path) -> None:
    files = tree(runs_dir)
    for name in ("tinny-001", "runs/tiny-001", "tiny-002", "/"):
        assert "there is no run" in refused(dlrun("resume", name), 2)
        fault.count(tries=1)
    assert "did you mean 'tiny-001'" in dlrun("resume", "tinny-001").err
    assert tree(runs_dir) == files


@pytest.mark.row("T19")
@pytest.mark.parametrize("left", ["rows", "nonsense", "best.pt alone"])
def test_a_run_without_its_checkpoint_is_never_silently_begun_anew(
    fault: Any, dlrun: Dlrun, complete: Run, left: str
) -> None:
    complete.last.unlink()
    (complete.metrics if left == "best.pt alone" else complete.best).unlink()
    if left == "nonsense":
        complete.metrics.write_text("epoch,seed\nnonsense,\x00\n")
    files = tree(complete.folder)
    done = dlrun("resume", "last")
    missing = "a best.pt but no last.pt" if left == "best.pt alone" else "rows but no checkpoint"
    assert refused(done, 4) == f"error: this run has {missing} to resume from"
    assert f"dlrun train {complete.config}" in done.err
    assert tree(complete.folder) == files
    assert dlrun("train", complete.config).code == 0  # what it says to do works
    fault.count(tries=1)


@pytest.mark.row("T19")
@pytest.mark.parametrize("has_header", [False, True])
def test_a_start_that_was_killed_before_its_first_save_begins_at_the_start(
    fault: Any, dlrun: Dlrun, complete: Run, runs_dir: Path, has_header: bool
) -> None:
    text = complete.config.read_text().replace("name: tiny", "name: killed")
    killed = create_run(runs_dir, "killed", text)
    if has_header:  # which is written just before the first save
        killed.metrics.write_text(complete.metrics.read_text().splitlines(keepends=True)[0])
    assert dlrun("resume", "killed").code == 0
    fault.count(tries=1)
    fault.never(different=timeless(killed.rows()) != timeless(complete.rows()))


# ------------------------------------------------------------------------ T20: eight at once


@pytest.mark.row("T20")
def test_of_eight_processes_that_resume_one_run_one_trains(fault: Any, tmp_path: Path) -> None:
    """The others say who does; it finishes, or is killed, upon which the run is free at once."""
    unbroken = trained(planned(**THREE), tmp_path)
    for number in range(fault.times(1, 10)):
        # The time that a lock is waited for, 10 s, is really waited for in the last round alone.
        hooks = {"patience": fault.times(1, 3)} if number < 9 else {}
        run, gate = started(planned(**THREE), tmp_path), tmp_path / f"gate-{number}"
        gate.mkdir()
        words = ["resume", str(run.folder)]
        said = [tmp_path / f"said-{number}-{i}" for i in range(fault.times(4, 8))]
        eight = [Started(words, at, gate=str(gate), **hooks) for at in said]
        until(lambda eight=eight: sum(one.process.exitcode is None for one in eight) == 1)
        [writer] = [one for one in eight if one.process.exitcode is None]
        host = identity()["host"]
        for one in eight:
            if one is not writer:
                code, out, err = one.ended()
                lines = err.splitlines()
                fault.said(err)
                assert (code, out) == (1, "")
                assert lines[0] == f"error: {run.name} is in use by process {writer.pid} on {host}"
                assert lines[-1] == f"  resume: dlrun resume {run.folder}"
        if number % 2:
            writer.process.kill()
            writer.process.join()
            assert writer.process.exitcode == -signal.SIGKILL
            go_on(run, THREE)
        else:
            (gate / "open").touch()
            assert writer.ended()[0] == 0
        writers = [path.name for path in gate.glob("trains-*")]
        fault.count(rounds=1, refused=len(eight) - 1)
        fault.never(
            second_writers=set(writers) - {f"trains-{writer.pid}"},
            different=differences(outcome(unbroken), outcome(run)),
        )


@pytest.mark.row("T20")
def test_who_has_just_begun_is_not_taken_for_who_was_there_before(
    fault: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(planned(), tmp_path, stop_after=1)
    run.write_json("summary.json", run.summary() | {"pid": 2**22 + 1})
    monkeypatch.setattr(locks, "PATIENCE", 0.1)
    with run.lock(), pytest.raises(RunFailed, match="in use by another process"):
        go_on(run, {})
