"""A run trained once more from its own folder."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import tree

from dlrun.errors import Diverged
from dlrun.run_folders.listing import runs_in
from dlrun.run_folders.run import Run
from dlrun.system.processes import identity

Dlrun = Callable[..., Any]


@pytest.fixture
def trained(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> Run:
    assert dlrun("train", tiny, "--seeds", 2, "threads=1").code == 0
    return Run(runs_dir / "tiny-001")


def changed_row(run: Run, by: float) -> None:
    """The recorded loss of the last row is larger by a share."""
    lines = run.metrics.read_text().splitlines()
    cells = lines[-1].split(",")
    cells[2] = repr(float(cells[2]) * (1 + by))
    run.metrics.write_text("\n".join([*lines[:-1], ",".join(cells), ""]))


def changed_summary(run: Run, **changes: Any) -> None:
    run.write_json("summary.json", run.summary() | changes)


def test_a_run_is_reproduced_to_the_last_bit_and_left_as_it_was(
    dlrun: Dlrun, trained: Run, runs_dir: Path
) -> None:
    before = tree(trained.folder)
    done = dlrun("reproduce", "tiny-001")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-3:] == [
        "settings, data, machine and versions are the same",
        "curves: the same to the last bit in 3 epochs, 2 seeds and 4 columns that both have",
        "tiny-001: bit-identical",
    ]
    assert tree(trained.folder) == before
    assert Run(runs_dir / "tiny-002").summary()["status"] == "finished"


def test_the_threads_it_had_are_taken_and_are_no_difference(
    dlrun: Dlrun, tiny: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dlrun("train", tiny)
    found = json.loads(dlrun("reproduce", "last", "--json").out)
    assert (found["verdict"], found["settings"]) == ("bit-identical", {})
    again, asked = Run(runs_dir / "tiny-001"), []
    changed_summary(again, threads=3)
    monkeypatch.setattr("dlrun.system.machine.cores", lambda: 8)
    monkeypatch.setattr("torch.set_num_threads", asked.append)
    dlrun("reproduce", "tiny-001")
    assert set(asked) == {3}


def test_a_small_change_is_within_tolerance_and_a_large_one_a_drift(dlrun: Dlrun, trained: Run) -> None:
    changed_row(trained, 0.005)
    done = dlrun("reproduce", "tiny-001")
    assert done.code == 0
    last = done.out.splitlines()[-1]
    assert last.startswith("tiny-001: within tolerance: the last figures are up to 0.50% apart, train_loss")
    assert "curves: part at epoch 3: train_loss of seed 1" in done.out
    done = dlrun("reproduce", "tiny-001", "--tolerance", 0.001)
    assert done.code == 5
    assert done.out.splitlines()[-1].endswith("(tolerance 0.001); nothing that is recorded has changed")
    changed_row(trained, 1.0)
    assert dlrun("reproduce", "tiny-001").code == 5


def test_of_a_drift_is_said_what_changed_even_in_quiet(dlrun: Dlrun, trained: Run) -> None:
    changed_row(trained, 1.0)
    changed_summary(trained, versions=trained.summary()["versions"] | {"torch": "1.0"}, device="cuda")
    done = dlrun("reproduce", "tiny-001", "--quiet")
    assert (done.code, done.out) == (5, f"{trained.folder.parent / 'tiny-002'}\n")
    assert done.err.splitlines()[-1].startswith("tiny-001: drifted: the last figures are up to 50")
    assert done.err.splitlines()[-1].endswith("; changed: device used, torch")


def test_the_figures_at_the_end_count_too(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    dlrun("train", tiny, "evaluate_every=100")
    run = Run(runs_dir / "tiny-001")
    assert set(run.rows()["test_accuracy"][:-1]) == {None}, "the test set was evaluated at the end alone"
    final = run.summary()["final"]
    final["test_accuracy"]["values"] = [final["test_accuracy"]["values"][0] + 0.5]
    changed_summary(run, final=final)
    found = json.loads(dlrun("reproduce", "tiny-001", "--json").out)
    assert (found["verdict"], found["parting"]["epoch"]) == ("drifted", None)
    assert "test_accuracy the most" in found["why"]


def test_a_run_that_stopped_early_is_trained_as_far(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    dlrun("train", tiny, "epochs=9", "--stop-after", 2)
    done = dlrun("reproduce", "tiny-001")
    assert (done.code, done.out.splitlines()[-1]) == (0, "tiny-001: bit-identical")
    assert Run(runs_dir / "tiny-002").rows()["epoch"] == [1, 2]


def test_rows_that_it_does_not_come_to_again_are_a_drift(
    dlrun: Dlrun, trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverging(*arguments: Any, **named: Any) -> Any:
        raise Diverged("the loss is nan")

    with monkeypatch.context() as patched:
        patched.setattr("dlrun.training.experiment.fit", diverging)
        done = dlrun("reproduce", "tiny-001", "--json")
    found = json.loads(done.out)
    assert (done.code, found["verdict"]) == (5, "drifted")
    assert found["why"].startswith("epoch 1 of seed 0 was not trained again")
    text = trained.metrics.read_text()
    trained.metrics.write_text(text.replace("train_loss", "other_loss", 1))
    found = json.loads(dlrun("reproduce", "tiny-001", "--json").out)
    assert (found["verdict"], found["parting"]["epoch"]) == ("drifted", None)
    assert found["why"].startswith("other_loss of epoch 1 was not measured again")


def test_a_signal_ends_it_without_a_verdict(
    dlrun: Dlrun, trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlrun.training import experiment

    def stopped(plan: object, state: Any) -> bool:
        if state.epoch == 1:
            signal.raise_signal(signal.SIGINT)
        return False

    monkeypatch.setattr(experiment, "is_complete", stopped)
    done = dlrun("reproduce", "tiny-001", "--quiet")
    assert done.code == 130
    assert done.err.splitlines()[-1].startswith("tiny-001: interrupted")


def test_without_rows_there_is_nothing_to_reproduce(dlrun: Dlrun, trained: Run, runs_dir: Path) -> None:
    trained.metrics.unlink()
    done = dlrun("reproduce", "tiny-001")
    assert (done.code, "has no rows to compare with" in done.err) == (2, True)
    changed_summary(trained, status="running", **identity())
    done = dlrun("reproduce", "tiny-001")
    assert (done.code, "is still training" in done.err) == (2, True)
    assert [run.name for run in runs_in(runs_dir)] == ["tiny-001"]
