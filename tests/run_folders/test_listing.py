"""Lists of runs: a run that cannot be looked into is listed as broken, and stops nothing about another."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from made_runs import SGD, made, made_sweep, with_rows
from places import PROJECT

from dlrun.errors import UserError
from dlrun.run_folders.listing import overview, overviews, runs_in
from dlrun.run_folders.run import Run
from dlrun.system.bounds import SUMMARY

TERABYTE = 1 << 40
STRANGER = 65534  # an id that owns nothing
HUGE = ("summary.json", "config.yaml", "metrics.csv")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter: those of pytest are closed to others."""
    home = Path(tempfile.mkdtemp())
    home.chmod(0o755)
    yield home
    for folder in home.glob("runs/*"):
        folder.chmod(0o755)
    shutil.rmtree(home)


@contextmanager
def bound_by_modes() -> Iterator[None]:
    """In here the modes of files bind, also where root runs the tests."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(STRANGER)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_a_run_that_may_not_be_read_is_broken_and_stops_nothing(open_folder: Path, dlrun: Any) -> None:
    runs = open_folder / "runs"
    with_rows(made(runs, {"name": "sound", "optimizer": SGD}), ["1,0,0.5,0.1,0.1"])
    closed = made(runs, {"name": "closed"}).folder
    sweep = made_sweep(runs, [{"batch_size": 8}], [[0.5]]).folder
    (runs / "lost+found").mkdir()
    where = ("--runs-dir", runs)
    commands: dict[str, tuple[object, ...]] = {
        "runs": ("runs", *where),
        "where": ("runs", "--where", "epochs > 0", *where),
        "compare": ("compare", "*-001", "--metric", "train_accuracy", *where),
        "diff": ("diff", "last", "sound-001", *where),
        "prune": ("runs", "--prune", *where),
        "eval": ("eval", "closed-001", *where),
        "folder": ("eval", closed),
    }
    for words in commands.values():
        dlrun(*words)  # whoever is bound by modes may be unable to import anything
    for folder in (closed, sweep, runs / "lost+found"):
        folder.chmod(0)
    with bound_by_modes():
        done = {name: dlrun(*words) for name, words in commands.items()}
    for name in ("runs", "where", "compare", "diff", "prune"):
        assert done[name].code == 0, done[name]
    for name, folders in (("runs", {"sound-001", "closed-001", sweep.name}), ("where", {"sound-001"})):
        lines = {line.split()[0]: line.split()[1] for line in done[name].out.splitlines()[1:]}
        assert lines == {run: "finished" if run == "sound-001" else "broken" for run in folders}
    assert "left out, as their configs cannot be read: closed-001" in done["compare"].err
    assert "the same to the last bit" in done["diff"].out
    assert "nothing to delete" in done["prune"].out, "a run that may not be read may hold something"
    for name in ("eval", "folder"):
        assert done[name].code == 4 and "Permission denied" in done[name].err, done[name]


@pytest.mark.parametrize("name", HUGE)
def test_a_file_of_a_terabyte_makes_a_run_broken_and_is_never_read(
    name: str, tmp_path: Path, dlrun: Any, monkeypatch: pytest.MonkeyPatch, no_hanging: None
) -> None:
    runs = tmp_path / "runs"
    with_rows(made(runs, {"name": "sound", "optimizer": SGD}), ["1,0,0.5,0.1,0.1"])
    huge = with_rows(made(runs, {"name": "huge"}), ["1,0,0.5,0.1,0.1"])
    os.truncate(huge.folder / name, TERABYTE)
    assert {each["run"]: each["status"] for each in overviews(runs)} == {
        "sound-001": "finished",
        "huge-001": "broken",
    }
    for words in (
        ("runs", "--where", "train_accuracy > 0"),
        ("compare", "*-001", "--metric", "train_accuracy"),
        ("diff", "sound-001", "sound-001"),
        ("sweep", tmp_path / "small.yaml", "batch_size=8,16", "--needed", "--dry-run", "--quiet"),
    ):
        if words[0] == "sweep":
            shutil.copy(runs / "sound-001" / "config.yaml", tmp_path / "small.yaml")
        done = dlrun(*words)
        assert done.code == 0, done
    monkeypatch.chdir(tmp_path)
    asked = {"_DLRUN_COMPLETE": "complete_bash", "COMP_WORDS": "dlrun rm huge", "COMP_CWORD": "2"}
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    assert dlrun().out.split() == ["huge-001"]
    for name in asked:
        monkeypatch.delenv(name)
    refused = dlrun("resume", "huge-001")
    assert refused.code in (2, 4) and len(refused.err.splitlines()) <= 5


def test_a_summary_is_read_up_to_its_bound_and_no_further(tmp_path: Path) -> None:
    run = made(tmp_path)
    text = (run.folder / "summary.json").read_bytes()
    (run.folder / "summary.json").write_bytes(text.ljust(SUMMARY))
    assert run.summary()["status"] == "finished"
    (run.folder / "summary.json").write_bytes(text.ljust(SUMMARY + 1))
    assert run.summary() == {} and run.status({}) == "broken"


def test_rows_are_read_line_by_line_and_a_line_without_end_is_refused(tmp_path: Path) -> None:
    run = with_rows(made(tmp_path), ["1,0,0.5,0.1,0.1"])
    os.truncate(run.metrics, 1 << 32)  # within the bound, if ten million epochs were in it
    with pytest.raises(UserError, match="a line has more than 16,384 bytes"):
        run.rows()
    assert run.last_row() == (0, {})
    assert runs_in(tmp_path) == [Run(tmp_path / run.name)]


def test_listing_runs_imports_neither_torch_nor_yaml_nor_rich(tmp_path: Path) -> None:
    """Each of them takes as long as hundreds of runs."""
    for number in range(3):
        made(tmp_path, {"name": f"n{number}"})
    made_sweep(tmp_path, [{"batch_size": 8}], [[0.5]])
    command = [sys.executable, "-X", "importtime", "-m", "dlrun", "runs", "--runs-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=True)
    assert len(done.stdout.splitlines()) == 6
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "dlrun" in imported and not imported & {"torch", "numpy", "yaml", "rich", "statistics"}


def test_a_list_shows_the_columns_that_a_config_names_before_others() -> None:
    last = {f"{split}_{figure}": 0.5 for split in ("train", "valid") for figure in ("loss", "accuracy", "f1")}
    summary: dict[str, Any] = {
        "status": "finished",
        "final": {column: {"mean": value, "sd": None} for column, value in last.items()},
        "best": {"monitor": "valid_loss"},
        "expect": [],
    }

    def told(**changes: Any) -> list[str]:
        row = overview(Run(Path("runs/a-001")), summary | changes)
        assert row["last"].keys() == last.keys()
        return list(row["told"])

    assert told() == ["valid_accuracy", "valid_f1"]
    assert told(best={"monitor": "train_f1"}) == ["train_f1", "valid_f1"]
    claims = [{"column": column} for column in ("best.valid_loss", "seconds", "valid_loss", "train_accuracy")]
    assert told(expect=claims) == ["valid_loss", "train_accuracy"]
    claims += [{"column": "valid_f1"}]
    assert told(expect=claims, best={"monitor": "train_f1"}) == ["train_f1", "valid_loss", "train_accuracy"]
    assert told(expect=["x", {"column": 1}, {}], best={"monitor": []}) == ["valid_accuracy", "valid_f1"]
    assert told(expect="valid_loss", best=[]) == ["valid_accuracy", "valid_f1"]


def test_runs_of_several_folders_are_listed_compared_and_told_apart_by_their_folders(
    tmp_path: Path, dlrun: Any
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    both = ("--runs-dir", here, "--runs-dir", there, "--runs-dir", here)
    for parent, rate in ((here, 0.1), (there, 0.2)):
        optimizer = {"name": "sgd", "lr": rate}
        with_rows(made(parent, {"name": "same", "optimizer": optimizer}), ["1,0,0.5,0.1,0.1"])
    with_rows(made(there, {"name": "other", "optimizer": SGD}), ["1,0,0.5,0.1,0.1"])
    folders = [f"{here}/same-001", f"{there}/same-001"]
    for words in ((), ("--columns", "optimizer.lr"), ("--where", "epochs > 0"), ("--sort", "run")):
        lines = dlrun("runs", *words, *both).out.splitlines()[1:]
        assert sorted(line.split()[0] for line in lines) == sorted([*folders, "other-001"]), words
    assert dlrun("runs", "--runs-dir", here).out.splitlines()[1].split()[0] == "same-001"
    head = dlrun("diff", *folders).out.splitlines()[0]
    assert head.split() == folders
    assert dlrun("diff", "same-001", "other", *both).err.startswith("error: same-001 could be ")
    assert dlrun("diff", "other", folders[0], *both).out.split()[:2] == ["other-001", "same-001"]
    assert dlrun("diff", "last", "other", *both).code == 0
    compared = json.loads(dlrun("compare", "same-001", "other", "--json", *both).out)
    assert [run for each in compared["settings"] for run in each["runs"]] == [*folders, f"{there}/other-001"]
    assert dlrun("compare", "nothing", *both).err.startswith("error: there is no run nothing")


def test_runs_of_one_name_are_named_by_their_folders_in_a_comparison(tmp_path: Path, dlrun: Any) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for parent in folders:
        with_rows(made(parent, {"name": "same", "optimizer": SGD}), ["1,0,0.5,0.1,0.1"])
    done = dlrun("compare", *(f"{parent}/same-001" for parent in folders))
    assert f"seed 0 of {folders[1]}/same-001" in " ".join(done.err.split())
    assert f"{folders[0]}/same-001" in "".join(done.out.split())
