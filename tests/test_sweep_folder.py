"""The folder of a sweep may come from anybody, and two processes may have it at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import contents
from small_sweeps import CONFIG, listed, only_sweep

from dlrun import sweep_folder

Dlrun = Callable[..., Any]
Write = Callable[[str, str], Path]


@pytest.fixture
def config(write: Write) -> Path:
    return write("small.yaml", CONFIG)


def test_a_run_outside_of_the_sweep_is_never_trained(dlrun: Dlrun, config: Path, runs_dir: Path) -> None:
    dlrun("train", config, "--stop-after", 1)
    dlrun("sweep", config, "epochs=1,2", "--seeds", 1, "--jobs", 1, "--name", "x")
    sweep = only_sweep(runs_dir)
    sweep.content["runs"][0] |= {"run": "small-001", "borrowed": ""}
    sweep.write()
    before = contents(runs_dir / "small-001")
    assert "0 to train" in dlrun("sweep", "--resume", "last").out
    assert contents(runs_dir / "small-001") == before


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["runs"][0].update(run="../x-001"),
        lambda content: content["runs"][0].update(run="/tmp/x-001"),
        lambda content: content["runs"][0].update(borrowed="../x-001"),
        lambda content: content["runs"][0].update(borrowed=7),
        lambda content: content["runs"][0].update(values=[]),
        lambda content: content["runs"][0].update(seeds=["a"]),
        lambda content: content["runs"][0].update(number={}),
        lambda content: content["runs"].append(content["runs"][0]),
        lambda content: content.update(runs={"a": 1}),
        lambda content: content.update(runs=7),
        lambda content: content.update(jobs=10**9),
        lambda content: content.update(jobs=True),
        lambda content: content.update(given_up=[[]]),
        lambda content: content.update(metric=7),
        lambda content: content.clear(),
    ],
)
def test_a_sweep_that_is_not_as_dlrun_writes_it_is_refused(
    change: Callable[[dict[str, Any]], object], tmp_path: Path, dlrun: Dlrun, runs_dir: Path
) -> None:
    sweep = listed(runs_dir, tmp_path)
    change(sweep.content)
    sweep.write()
    before = contents(tmp_path)
    done = dlrun("sweep", "--resume", sweep.folder)
    assert done.code == 2
    assert "this is no sweep as dlrun writes it" in done.err
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["small-001", "plots", "workers.log", "study.log", "small-001/checkpoints"])
def test_a_link_in_the_folder_of_a_sweep_is_refused(
    name: str, tmp_path: Path, dlrun: Dlrun, runs_dir: Path
) -> None:
    sweep = listed(runs_dir, tmp_path)
    elsewhere = tmp_path / "elsewhere"
    path = sweep.folder / name
    if path.exists():
        path.rename(elsewhere)
    path.symlink_to(elsewhere)
    before = contents(tmp_path)
    done = dlrun("sweep", "--resume", sweep.folder)
    assert done.code == 2
    assert "link" in done.err
    assert contents(tmp_path) == before


def test_what_another_process_added_meanwhile_is_not_lost(runs_dir: Path, tmp_path: Path) -> None:
    from dlrun import config as configs

    sweep = listed(runs_dir, tmp_path)
    before = sweep_folder.read(sweep.folder)
    sweep.add({"epochs": 3}, configs.load(tmp_path / "small.yaml"))
    sweep.write()
    with before.lock():
        assert len(before.trials) == 3
    assert len(sweep_folder.read(sweep.folder).trials) == 3


def test_a_sweep_whose_making_was_cut_short_is_listed_and_deleted(
    dlrun: Dlrun, runs_dir: Path, tmp_path: Path
) -> None:
    sweep = listed(runs_dir, tmp_path)
    (sweep.folder / sweep_folder.FILE).unlink()
    assert f"{sweep.name} was never begun: dlrun rm {sweep.name}" in dlrun("runs").out
    assert sweep_folder.every(runs_dir) == []
    done = dlrun("rm", sweep.name, "--yes")
    assert (done.code, "a sweep that was never begun" in done.out) == (0, True)
    assert not sweep.folder.exists()
    listed(runs_dir, tmp_path)
    (sweep.folder / sweep_folder.FILE).unlink()
    assert dlrun("runs", "--prune", "--yes").code == 0
    assert not sweep.folder.exists()


def test_a_folder_that_only_has_the_name_of_a_sweep_is_left_alone(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    dlrun("train", config, "--name", "a-sweep", "epochs=1")
    (runs_dir / "notes").mkdir()
    assert sweep_folder.cut_short(runs_dir) == []
    assert dlrun("rm", "notes", "--yes").code == 2
