"""`dlrun train --or-resume`: the same command begins a run, goes on with it, or finds it done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from small_runs import contents, timeless

from dlrun.run_folders.locating import create_only_run
from dlrun.run_folders.run import Run

Dlrun = Callable[..., Any]


def runs(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_trains_goes_on_and_is_done_in_one_folder(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    assert dlrun("train", tiny, "--name", "whole").code == 0
    command = ("train", tiny, "--name", "x", "--or-resume")
    run = Run(runs_dir / "x-001")
    for stop_after in (1, 2):
        assert dlrun(*command, "--stop-after", stop_after).code == 0
        assert run.summary()["epochs"] == stop_after
        assert run.unfinished.exists()
    assert dlrun(*command).code == 0
    assert not run.unfinished.exists()
    whole = Run(runs_dir / "whole-001")
    assert timeless(run.rows()) == timeless(whole.rows())
    before = contents(run.folder)
    done = dlrun(*command)
    assert (done.code, "already complete after epoch" in done.out) == (0, True)
    assert contents(run.folder) == before
    assert runs(runs_dir) == ["whole-001", "x-001"]
    more = run.summary()["epochs"] + 2
    assert dlrun(*command, f"epochs={more}", "--quiet").out.split() == [str(run.folder)]
    assert run.summary()["epochs"] == more
    assert runs(runs_dir) == ["whole-001", "x-001"]


def test_it_goes_on_with_the_latest_of_the_name_and_of_no_longer_one(
    dlrun: Dlrun, tiny: Path, runs_dir: Path
) -> None:
    for name in ("x", "x", "x-long"):
        assert dlrun("train", tiny, "--name", name, "--stop-after", 1).code == 0
    assert dlrun("train", tiny, "--name", "x", "--or-resume").code == 0
    epochs = {name: Run(runs_dir / name).summary()["epochs"] for name in runs(runs_dir)}
    assert epochs == {"x-001": 1, "x-002": max(epochs.values()), "x-long-001": 1}
    assert epochs["x-002"] > 1


def test_a_folder_whose_creation_was_killed_is_taken(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    (runs_dir / "x-001").mkdir(parents=True)
    assert dlrun("train", tiny, "--name", "x", "--or-resume").code == 0
    assert runs(runs_dir) == ["x-001"]
    assert Run(runs_dir / "x-001").summary()["status"] == "finished"


def test_a_run_that_was_killed_before_its_first_save_begins_at_the_start(
    dlrun: Dlrun, tiny: Path, runs_dir: Path
) -> None:
    assert dlrun("train", tiny, "--name", "x", "--stop-after", 1).code == 0
    run = Run(runs_dir / "x-001")
    rows = run.rows()
    for path in (run.last, run.best, run.metrics, run.folder / "summary.json"):
        path.unlink()
    assert dlrun("train", tiny, "--name", "x", "--or-resume").code == 0
    assert [own[:1] for own in timeless(run.rows()).values()] == [own[:1] for own in timeless(rows).values()]
    assert runs(runs_dir) == ["x-001"]


def test_another_config_is_refused_and_nothing_changes(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    assert dlrun("train", tiny, "--name", "x", "--stop-after", 1).code == 0
    before = contents(runs_dir)
    done = dlrun("train", tiny, "--name", "x", "--or-resume", "optimizer.lr=0.5", "batch_size=3")
    assert done.code == 2
    assert "cannot be resumed with another" in done.err
    assert "optimizer.lr (was " in done.err
    assert "batch_size (was " in done.err
    assert contents(runs_dir) == before


def test_two_processes_that_begin_at_once_have_one_folder(tmp_path: Path) -> None:
    first, second = (create_only_run(tmp_path, "x", "epochs: 1\n") for _ in range(2))
    assert first.folder == second.folder == tmp_path / "x-001"


def test_it_is_for_a_whole_run(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    done = dlrun("train", tiny, "--or-resume", "--quick")
    assert done.code == 2
    assert "--or-resume" in done.err
    assert not runs_dir.exists() or not runs(runs_dir)


def test_the_folder_of_a_run_is_no_name(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    assert dlrun("train", tiny, "--name", "x", "--stop-after", 1).code == 0
    done = dlrun("train", tiny, "--name", "x-001", "--or-resume")
    assert done.code == 2
    assert "x-001 is the folder of a run, whose name is x" in done.err
    assert "fix: write --name x\n" in done.err
    assert runs(runs_dir) == ["x-001"]
