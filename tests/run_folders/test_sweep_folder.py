"""The folder of a sweep may come from anybody, and two processes may have it at once."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_sweeps import CONFIG, listed, only_sweep

from dlrun.run_folders.locating import SWEEP_FILE
from dlrun.run_folders.sweep_finding import find_sweep, sweeps_in, unbegun_sweeps
from dlrun.run_folders.sweep_folder import read_sweep

Dlrun = Callable[..., Any]
Write = Callable[[str, str], Path]


@pytest.fixture
def config(write: Write) -> Path:
    return write("small.yaml", CONFIG)


def test_what_another_process_added_meanwhile_is_not_lost(runs_dir: Path, tmp_path: Path) -> None:
    from dlrun.config.loading import load_config

    sweep = listed(runs_dir, tmp_path)
    before = read_sweep(sweep.folder)
    sweep.add({"epochs": 3}, load_config(tmp_path / "small.yaml"))
    sweep.write()
    with before.lock():
        assert len(before.trials) == 3
    assert len(read_sweep(sweep.folder).trials) == 3


def test_a_sweep_whose_making_was_cut_short_is_listed_and_deleted(
    dlrun: Dlrun, runs_dir: Path, tmp_path: Path
) -> None:
    sweep = listed(runs_dir, tmp_path)
    (sweep.folder / SWEEP_FILE).unlink()
    assert f"{sweep.name} was never started: dlrun rm {sweep.name}" in dlrun("runs").out
    assert sweeps_in(runs_dir) == []
    done = dlrun("rm", sweep.name, "--yes")
    assert (done.code, "a sweep that was never started" in done.out) == (0, True)
    assert not sweep.folder.exists()
    listed(runs_dir, tmp_path)
    (sweep.folder / SWEEP_FILE).unlink()
    assert dlrun("runs", "--prune", "--yes").code == 0
    assert not sweep.folder.exists()


def test_a_folder_that_only_has_the_name_of_a_sweep_is_left_alone(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    dlrun("train", config, "--name", "a-sweep", "epochs=1")
    (runs_dir / "notes").mkdir()
    assert unbegun_sweeps(runs_dir) == []
    assert dlrun("rm", "notes", "--yes").code == 2


def test_of_a_sweep_that_was_cut_short_it_is_said_what_to_do(
    dlrun: Dlrun, runs_dir: Path, tmp_path: Path
) -> None:
    sweep = listed(runs_dir, tmp_path)
    (sweep.folder / SWEEP_FILE).unlink()
    for name in (sweep.name, sweep.folder):
        done = dlrun("sweep", "--resume", name)
        assert (done.code, f"{sweep.name} was never started" in done.err) == (2, True)
        assert f"dlrun rm {sweep.name}" in done.err


def test_a_sweep_is_found_from_inside_of_it(
    dlrun: Dlrun, config: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["epochs=1,2", "--seeds", 1, "--jobs", 1]
    dlrun("sweep", config, *words, "--name", "before")
    dlrun("sweep", config, *words, "--needed")
    monkeypatch.chdir(find_sweep("small", runs_dir).folder)
    assert "2 runs, 0 to train" in dlrun("sweep", "--resume", ".").out
    assert len(json.loads(dlrun("compare", ".", "--json").out)["settings"]) == 2


def test_a_run_of_a_sweep_is_named_with_it(dlrun: Dlrun, config: Path, runs_dir: Path) -> None:
    dlrun("sweep", config, "epochs=1,2", "--seeds", 1, "--jobs", 1)
    dlrun("train", config, "epochs=1")  # which is small-001 too
    listed = dlrun("runs", "--where", "epochs > 0").out
    assert [line.split()[0] for line in listed.splitlines()[1:]] == [
        "small-001",
        "small-sweep-001/small-001",
        "small-sweep-001/small-002",
    ]
    assert dlrun("eval", "small-sweep-001/small-002").code == 0
    assert (runs_dir / "small-sweep-001" / "small-002" / "eval").exists()
    said = dlrun("eval", "small-sweep-001").err
    assert "small-sweep-001 is a sweep of many runs" in said
    assert "name one of them, such as small-sweep-001/small-001" in said
    assert "a run of a sweep is named SWEEP/RUN" in dlrun("eval", "small-002").err


def test_values_under_sweep_may_be_nested_as_the_config_is(
    dlrun: Dlrun, write: Write, runs_dir: Path
) -> None:
    path = write("small.yaml", CONFIG + "sweep: {optimizer: {lr: [1e-3, 1e-2]}, epochs: 1..2}\n")
    done = dlrun("sweep", path, "--seeds", 1, "--dry-run")
    assert "4 runs" in done.out


def test_a_value_may_be_any_text(dlrun: Dlrun, write: Write, tmp_path: Path) -> None:
    done = dlrun("sweep", write("small.yaml", CONFIG), "dataset={name: csv, path: \U0001f600.csv, target: y}",
                 "epochs=1,2")  # fmt: skip
    assert "\U0001f600.csv" in done.err
    assert "Unicode" not in done.err


def test_what_a_killed_writer_left_goes_and_what_another_writes_stays(
    dlrun: Dlrun, runs_dir: Path, tmp_path: Path
) -> None:
    sweep = listed(runs_dir, tmp_path)
    gone = subprocess.Popen(["true"])
    gone.wait()
    sweep.plots.mkdir()
    left = [sweep.folder / f"results.csv.{gone.pid}.tmp", sweep.plots / f"curves.png.{gone.pid}.tmp"]
    kept = [sweep.plots / f"curves.png.{os.getpid()}.tmp", sweep.folder / "my.notes.tmp"]
    for path in (*left, *kept):
        path.touch()
    with sweep.lock():
        assert [path.exists() for path in (*left, *kept)] == [False, False, True, True]


def test_inside_of_a_sweep_its_runs_have_their_own_names(
    dlrun: Dlrun, config: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dlrun("sweep", config, "epochs=1,2", "--seeds", 1, "--jobs", 1)
    monkeypatch.chdir(only_sweep(runs_dir).folder)
    listed = dlrun("runs", "--sort", "epochs", "--runs-dir", ".").out.splitlines()[1:]
    assert [line.split()[0] for line in listed] == ["small-001", "small-002"]
    assert "name one of them, such as small-sweep-001/small-001" in dlrun("eval", ".").err


def test_values_that_stand_twice_under_sweep_or_are_none_are_refused(dlrun: Dlrun, write: Write) -> None:
    twice = write("a.yaml", CONFIG + "sweep:\n  optimizer: {lr: [1, 2]}\n  optimizer.lr: [3, 4]\n")
    assert f"optimizer.lr is given twice (first at {twice}:11:19)" in dlrun("sweep", twice).err
    none = write("b.yaml", CONFIG + "sweep: {optimizer.lr: [1, 2], batch_size: {}}\n")
    assert dlrun("sweep", none, "--dry-run").code == 2


def test_a_run_that_was_borrowed_stays_when_its_config_names_its_data_absolutely(tmp_path: Path) -> None:
    from dlrun.run_folders.sweep_folder import _is_of

    config = tmp_path / "config.yaml"
    config.write_text("dataset: {name: csv, path: /home/t.csv}\nepochs: 3\n")
    assert _is_of(config, 1, "dataset: {name: csv, path: t.csv}\nepochs: 3\n")
    assert not _is_of(config, 2, "dataset: {name: csv, path: t.csv}\nepochs: 4\n")
