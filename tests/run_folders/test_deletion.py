"""Tests of deletion by `dlrun runs` and `dlrun rm`."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_runs import config_of, made, made_sweep, with_rows

from dlrun.errors import RunFailed
from dlrun.run_folders.deletion import delete_folder
from dlrun.run_folders.locating import SWEEP_FILE
from dlrun.run_folders.run import Run
from dlrun.run_folders.sweep_folder import Sweep
from dlrun.system import locks

Dlrun = Callable[..., Any]


class Terminal(io.StringIO):
    """The user's answer at the prompt."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """typed("y") is what stands on the terminal that is asked."""
    return lambda text: monkeypatch.setattr(sys, "stdin", Terminal(text))


@pytest.fixture
def sweep(runs_dir: Path) -> Sweep:
    return made_sweep(runs_dir, [{"epochs": 1}, {"epochs": 2}], [[0.1], [0.2]])


def names(runs_dir: Path) -> list[str]:
    return sorted(path.name for path in runs_dir.iterdir())


def test_what_goes_is_named_before_it_is_asked_for(
    dlrun: Dlrun, runs_dir: Path, typed: Callable[[str], None], sweep: Sweep
) -> None:
    made(runs_dir)
    for answer in ("n\n", "\n", ""):
        typed(answer)
        done = dlrun("rm", "small-001", sweep.name)
        head, first, second, last = done.out.splitlines()
        assert (done.code, head, last) == (1, "to be deleted:", "nothing was deleted")
        assert first.startswith(f"  {runs_dir / 'small-001'}  finished after epoch 3, 3 files")
        assert second.startswith(f"  {sweep.folder}  a sweep of 2 runs, 7 files")
        assert "Delete 2 folders?" in done.err
    assert names(runs_dir) == ["small-001", sweep.name]
    typed("y\n")
    done = dlrun("rm", "small-001", sweep.name)
    assert (done.code, done.out.splitlines()[-1]) == (0, "deleted 2 folders")
    assert names(runs_dir) == []


def test_where_nobody_can_answer_nothing_is_deleted(tmp_path: Path) -> None:
    made(tmp_path)
    made(tmp_path, status="failed")
    command = [sys.executable, "-m", "dlrun"]
    for words in (["rm", "small-001"], ["runs", "--prune"]):
        done = subprocess.run(
            [*command, *words, "--runs-dir", tmp_path], input="", capture_output=True, text=True, timeout=30
        )
        assert (done.returncode, "stdin is not a terminal" in done.stderr) == (2, True)
        assert "--yes" in done.stderr
    assert names(tmp_path) == ["small-001", "small-002"]


def test_with_yes_nobody_is_asked_and_a_run_that_is_named_twice_goes_once(
    dlrun: Dlrun, runs_dir: Path
) -> None:
    run = made(runs_dir)
    kept = made(runs_dir)
    done = dlrun("rm", "small-001", run.folder, "--yes")
    assert (done.code, done.err, done.out.splitlines()[-1]) == (0, "", "deleted 1 folder")
    assert names(runs_dir) == [kept.name]
    assert dlrun("rm", "last", "-y").code == 0
    assert names(runs_dir) == []


def test_a_pattern_names_all_runs_and_sweeps_that_match_it(
    dlrun: Dlrun, runs_dir: Path, sweep: Sweep
) -> None:
    for _ in range(2):
        made(runs_dir)
    done = dlrun("rm", "small-00?", "--yes")
    assert (done.code, done.out.splitlines()[-1]) == (0, "deleted 2 folders")
    assert names(runs_dir) == [sweep.name]
    assert dlrun("rm", "nothing*", "--yes").code == 2
    assert dlrun("rm", "**", "--yes").code == 2
    assert dlrun("rm", "*-sweep-*", "--yes").code == 0
    assert names(runs_dir) == []


def test_last_is_the_newest_run_and_a_sweep_has_to_be_named(
    dlrun: Dlrun, runs_dir: Path, sweep: Sweep
) -> None:
    assert dlrun("rm", "last", "--yes").code == 2
    made(runs_dir)
    ambiguous = dlrun("rm", "small", "--yes")
    assert (ambiguous.code, "could be small-001, small-sweep-001" in ambiguous.err) == (2, True)
    assert dlrun("rm", "last", "--yes").code == 0
    assert names(runs_dir) == [sweep.name]
    assert dlrun("rm", "small-sw", "--yes").code == 0
    assert names(runs_dir) == []


def test_nothing_outside_of_the_runs_is_deleted(
    dlrun: Dlrun, runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, outside = made(runs_dir), made(tmp_path / "elsewhere")
    (runs_dir / "link-001").symlink_to(outside.folder)
    (runs_dir / "inner-001").symlink_to(run.folder)
    (runs_dir / "no_run").mkdir()
    (runs_dir / "config.yaml").write_text("name: x")
    monkeypatch.chdir(runs_dir)
    before = sorted(tmp_path.rglob("*"))
    for text in (
        *("", " ", ".", "..", "/", "../elsewhere", "../elsewhere/small-001", "no_run", "absent", "x" * 5000),
        *("link-001", "inner-001", "small-001/..", "*", outside.folder, runs_dir, runs_dir / "link-001"),
    ):
        done = dlrun("rm", text, "--yes")
        assert (done.code, done.out) == (2, ""), text
        assert len(done.err.splitlines()) <= 3
    assert sorted(tmp_path.rglob("*")) == before
    (run.folder / "plots" / "link").symlink_to(outside.folder)
    assert dlrun("rm", "small-001", "--yes").code == 0
    assert (outside.folder / "config.yaml").exists()


def test_the_runs_of_a_sweep_go_only_with_it(dlrun: Dlrun, runs_dir: Path, sweep: Sweep) -> None:
    inside = sweep.trials[0].run
    inside.write_json("summary.json", inside.summary() | {"status": "diverged"})
    for words in (
        ("rm", inside.folder, "--yes"),
        ("rm", inside.name, "--yes", "--runs-dir", sweep.folder),
        ("runs", "--prune", "--yes", "--runs-dir", sweep.folder),
    ):
        done = dlrun(*words)
        assert (done.code, f"dlrun rm {sweep.name}" in done.err) == (2, True)
    assert inside.folder.exists()


def test_that_a_sweep_needs_a_run_is_said(dlrun: Dlrun, runs_dir: Path, sweep: Sweep) -> None:
    run = made(runs_dir)
    sweep.borrow({"epochs": 3}, run, config_of({"epochs": 3}))
    sweep.write()
    done = dlrun("rm", "small-001", "--yes")
    assert done.out.splitlines()[1].endswith(f", which the sweep {sweep.name} needs")


def test_a_sweep_that_cannot_be_read_can_be_deleted(dlrun: Dlrun, runs_dir: Path, sweep: Sweep) -> None:
    (sweep.folder / SWEEP_FILE).write_text("{")
    done = dlrun("rm", sweep.name, "--yes")
    assert (done.code, "a sweep that cannot be read" in done.out) == (0, True)
    assert names(runs_dir) == []


def test_what_is_in_use_is_not_deleted(
    dlrun: Dlrun, runs_dir: Path, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0)
    run = made(runs_dir)
    for name, used in (
        ("small-001", run),
        (sweep.name, Run(sweep.folder)),
        (sweep.name, sweep.trials[1].run),
    ):
        with used.lock():
            done = dlrun("rm", name, "--yes")
        assert (done.code, f"{used.name} is in use" in done.err) == (1, True)
    assert names(runs_dir) == ["small-001", sweep.name]


# --------------------------------------------------------------------------- dlrun runs


def test_pruned_is_what_diverged_or_has_nothing_to_go_on_from(dlrun: Dlrun, runs_dir: Path) -> None:
    for status in ("finished", "paused", "diverged", "failed", "interrupted"):
        made(runs_dir, status=status)
    for status in ("failed", "interrupted"):
        saved = made(runs_dir, status=status)
        saved.last.touch()
    done = dlrun("runs", "--prune", "--yes")
    assert (done.code, done.err) == (0, "")
    assert names(runs_dir) == [f"small-00{number}" for number in (1, 2, 6, 7)]
    again = dlrun("runs", "--prune", "--yes")
    assert (again.code, again.out) == (0, f"there is nothing to delete in {runs_dir}\n")


def test_with_a_condition_those_are_pruned_of_which_it_holds(dlrun: Dlrun, runs_dir: Path) -> None:
    for epochs in (1, 2, 3):
        made(runs_dir, {"epochs": epochs})
    wrong = dlrun("runs", "--prune", "--yes", "--where", "epoch < 3")
    assert (wrong.code, "did you mean 'epochs'?" in wrong.err) == (2, True)
    assert len(names(runs_dir)) == 3
    assert dlrun("runs", "--prune", "--yes", "--where", "epochs < 3").code == 0
    assert names(runs_dir) == ["small-003"]
    assert dlrun("runs", "--prune", "--yes", "--where", "epochs < 3").out.startswith(
        "there is nothing to delete"
    )


def test_runs_are_chosen_ordered_and_shown_by_any_key(dlrun: Dlrun, runs_dir: Path) -> None:
    for lr, accuracy in ((0.1, 0.5), (0.3, 0.9), (0.2, 0.7)):
        changes: dict[str, Any] = {"optimizer": {"name": "adam", "lr": lr}, "seeds": [0, 1]}
        with_rows(made(runs_dir, changes, final={"train_accuracy": [accuracy, accuracy + 0.02]}), [])

    def column(*words: str) -> list[list[str]]:
        done = dlrun("runs", "--columns", "optimizer.lr,train_accuracy,gradient_clip", *words)
        assert done.err == ""
        return [line.split() for line in done.out.splitlines()]

    assert column("--sort", "optimizer.lr") == [
        ["run", "optimizer.lr", "train_accuracy", "gradient_clip"],
        ["small-001", "0.1", "0.5100", "±", "0.0141", "null"],
        ["small-003", "0.2", "0.7100", "±", "0.0141", "null"],
        ["small-002", "0.3", "0.9100", "±", "0.0141", "null"],
    ]
    chosen = column("--sort", "-train_accuracy", "--where", "train_accuracy > 0.6")
    assert [row[0] for row in chosen] == ["run", "small-002", "small-003"]
    listed = dlrun("runs", "--sort", "-optimizer.lr").out.splitlines()
    assert [line.split()[0] for line in listed] == ["run", "small-002", "small-003", "small-001"]
    nobody = dlrun("runs", "--where", "train_accuracy > 2")
    assert (nobody.code, nobody.out) == (0, f"there are no such runs in {runs_dir}\n")


@pytest.mark.parametrize("option", ["--where", "--sort", "--columns"])
def test_a_key_that_no_run_has_is_refused_with_its_neighbour(
    option: str, dlrun: Dlrun, runs_dir: Path
) -> None:
    made(runs_dir)
    done = dlrun("runs", option, "optimizer.lrate" + " > 0" * (option == "--where"))
    assert (done.code, done.out) == (2, "")
    what, where, _ = done.err.splitlines()
    assert what == "error: no run has the key 'optimizer.lrate'; did you mean 'optimizer.lr'?"
    assert where == f"  where: {option}"
    assert dlrun("runs", option, "").code == 2


def test_nothing_is_pruned_where_one_of_the_runs_is_in_use(dlrun: Dlrun, runs_dir: Path) -> None:
    busy = made(runs_dir)
    made(runs_dir)  # which would go first
    with busy.lock():
        done = dlrun("runs", "--prune", "--yes", "--where", "epochs > 0")
    assert (done.code, "small-001 is in use" in done.err) == (1, True)
    assert names(runs_dir) == ["small-001", "small-002"]


def test_a_folder_that_holds_other_runs_is_no_run_to_be_deleted(dlrun: Dlrun, runs_dir: Path) -> None:
    project = runs_dir / "project"
    made(project)
    (project / "config.yaml").write_text("base: spiral_relu\n")
    done = dlrun("rm", "project", "--yes")
    assert (done.code, "project holds other runs" in done.err) == (2, True)
    assert (project / "small-001").exists()


def test_a_run_that_is_begun_while_its_sweep_is_deleted_is_waited_for(
    runs_dir: Path, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0)
    with sweep.trials[1].run.lock(), pytest.raises(RunFailed, match="small-002 is in use"):
        delete_folder(sweep.folder)
    assert len(list(sweep.folder.glob("*/config.yaml"))) == 2
