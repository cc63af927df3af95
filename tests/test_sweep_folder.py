"""The folder of a sweep may come from anybody, and two processes may have it at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_sweeps import CONFIG, listed

from dlrun import sweep_folder

Dlrun = Callable[..., Any]
Write = Callable[[str, str], Path]


@pytest.fixture
def config(write: Write) -> Path:
    return write("small.yaml", CONFIG)


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
