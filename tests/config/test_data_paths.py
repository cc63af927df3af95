"""The data that a config names is found where a person means it, and a run finds it again from everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from places import PROJECT
from small_runs import only_run
from small_sweeps import only_sweep

from dlrun.config.data_paths import found_at

Dlrun = Callable[..., Any]
Write = Callable[[str, str], Path]
TABLE = "a,y\n" + "".join(f"{x},{2 * x}\n" for x in range(20))
ANOTHER = "a,y\n" + "".join(f"{x},{3 * x}\n" for x in range(20))
CONFIG = """\
dataset: {name: csv, path: T.csv, target: y, valid_fraction: 0}
architecture: {name: mlp, hidden: [4]}
loss: mse
optimizer: {name: adam, lr: 1e-2}
epochs: 2
batch_size: 8
plots: []
"""
OWN = """\
import torch
from pathlib import Path
from dlrun.data import Data, Examples


def numbers(root, *, path: str = "numbers.txt"):
    '''The numbers in a file, or of none.'''
    text = Path(path).read_text() if Path(path).is_absolute() else "1 2 3 4"
    x = torch.tensor([float(each) for each in text.split()])[:, None]
    return Data("regression", (1,), lambda: {"train": Examples(x, x), "test": Examples(x, x)})
"""


@pytest.fixture
def config(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config that is not in the folder where we are, and names a table that is nowhere yet."""
    for folder in ("here", "elsewhere", "data"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("DLRUN_DATA", str(tmp_path / "data"))
    return write("project/own.yaml", CONFIG)


def path_of(runs_dir: Path) -> str:
    """Return the data path in the config of the only run."""
    line = next(line for line in only_run(runs_dir).config.read_text().splitlines() if " path:" in line)
    return line.partition(":")[2].strip().strip('"')


@pytest.mark.parametrize("folder", ["here", "project", "data"])
def test_data_are_found_in_each_of_three_places_and_the_run_finds_them_from_everywhere(
    folder: str,
    dlrun: Dlrun,
    config: Path,
    write: Write,
    runs_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = write(f"{folder}/T.csv", TABLE)
    assert dlrun("train", Path("..", "project", "own.yaml"), "--stop-after", 1).code == 0
    assert path_of(runs_dir) == str(table)
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("DLRUN_DATA", "no-data")
    for words in (
        ("eval", "own-001", "--checkpoint", "last"),
        ("resume", "own-001"),
        ("plot", "own-001", "curves"),
        ("reproduce", "own-001"),
    ):
        done = dlrun(*words)
        assert done.code == 0, (words, done.err)
    assert "bit-identical" in done.out


def test_two_files_of_that_name_are_a_mistake_that_names_both_and_one_by_two_ways_is_none(
    dlrun: Dlrun, config: Path, write: Write, runs_dir: Path, tmp_path: Path
) -> None:
    mine, beside = write("here/T.csv", TABLE), write("project/T.csv", ANOTHER)
    for command in ("train", "data", "show"):
        done = dlrun(command, config)
        assert (done.code, runs_dir.exists()) == (2, False), command
        assert f"own.yaml:1:28 dataset.path: T.csv could be {mine} or {beside}" in done.err
        assert f"dataset.path={mine}" in done.err
    assert dlrun("show", config, f"dataset.path={beside}").code == 0
    beside.unlink()
    beside.symlink_to(mine)
    os.link(mine, tmp_path / "data" / "T.csv")
    assert dlrun("show", config).code == 0


def test_where_nothing_is_found_all_places_are_named(dlrun: Dlrun, config: Path, tmp_path: Path) -> None:
    done = dlrun("train", config)
    places = [str(tmp_path / folder / "T.csv") for folder in ("here", "project", "data")]
    assert done.code == 2
    assert f"there is no file or folder {places[0]}, {places[1]} or {places[2]}; " in done.err


def test_a_path_on_the_command_line_is_relative_to_where_one_is(
    dlrun: Dlrun, config: Path, write: Write, runs_dir: Path
) -> None:
    beside, mine = write("project/U.csv", ANOTHER), write("here/V.csv", TABLE)
    write("project/V.csv", ANOTHER)
    done = dlrun("train", config, "dataset.path=U.csv")
    assert (done.code, f"relative to where you are: dataset.path={beside}" in done.err) == (2, True), done.err
    assert dlrun("train", config, "dataset.path=V.csv").code == 0, "the other V.csv is not meant"
    assert path_of(runs_dir) == str(mine)


@pytest.mark.parametrize("folder", ["here", "project", "data"])
def test_the_data_are_shown_wherever_training_finds_them(
    folder: str, dlrun: Dlrun, config: Path, write: Write
) -> None:
    write(f"{folder}/T.csv", TABLE)
    done = dlrun("data", config, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["table"]["rows"] == 20


def test_a_path_is_looked_for_beside_the_file_in_which_it_stands(
    dlrun: Dlrun, config: Path, write: Write, runs_dir: Path
) -> None:
    table = write("project/T.csv", TABLE)
    child = write("elsewhere/child.yaml", "base: ../project/own.yaml\nepochs: 1\n")
    assert dlrun("train", child).code == 0
    assert path_of(runs_dir) == str(table)


def test_the_tables_that_a_sweep_goes_through_are_found_beside_its_config(
    dlrun: Dlrun, config: Path, write: Write, runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = [write("project/T.csv", TABLE), write("project/U.csv", ANOTHER)]
    write("project/own.yaml", CONFIG + "sweep: {dataset.path: [T.csv, U.csv]}\n")
    done = dlrun("sweep", config, "epochs=1", "--jobs", 1, "--quiet")
    assert done.code == 0, done.err
    trials = only_sweep(runs_dir).trials
    assert [trial.values for trial in trials] == [{"dataset.path": "T.csv"}, {"dataset.path": "U.csv"}]
    for trial, table in zip(trials, tables, strict=True):
        assert f'path: "{table}"' in trial.run.config.read_text()
        (trial.run.folder / "summary.json").unlink()
        (trial.run.folder / "metrics.csv").unlink()
        for saved in (trial.run.folder / "checkpoints").iterdir():
            saved.unlink()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert dlrun("sweep", "--resume", "last", "--jobs", 1).code == 0
    assert {trial.run.summary()["status"] for trial in trials} == {"finished"}
    tables[1].unlink()
    missed = dlrun("sweep", config, "--jobs", 1)
    assert missed.code == 2
    assert f"own.yaml:8:23 dataset.path: there is no file or folder {Path.cwd()}" in missed.err


def test_a_tilde_in_a_config_is_the_home(
    dlrun: Dlrun, config: Path, write: Write, runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    table = write("home/T.csv", TABLE)
    write("project/own.yaml", CONFIG.replace("T.csv", "~/T.csv"))
    assert dlrun("train", config).code == 0
    assert path_of(runs_dir) == str(table)


def test_an_own_dataset_gets_its_path_found_and_knows_what_to_do_without(
    dlrun: Dlrun, config: Path, write: Write, tmp_path: Path
) -> None:
    write("mine/dataset/numbers.py", OWN)
    mine = ("--parts", tmp_path / "mine")
    write(
        "project/own.yaml",
        CONFIG.replace("{name: csv, path: T.csv, target: y, valid_fraction: 0}", "numbers"),
    )
    assert "path: numbers.txt" in dlrun("show", config, *mine).out
    found = write("project/numbers.txt", "1 2 3 4 5 6")
    assert f'path: "{found}"' in dlrun("show", config, *mine).out
    assert json.loads(dlrun("data", config, "--json", *mine).out)["splits"]["train"]["examples"] == 6


def test_a_run_that_wrote_a_relative_path_goes_on_as_it_did(
    dlrun: Dlrun, config: Path, write: Write, runs_dir: Path, tmp_path: Path
) -> None:
    from dataclasses import replace

    from dlrun.training.checkpoint import load_checkpoint, save_checkpoint

    table = write("here/T.csv", TABLE)
    assert dlrun("train", config, "plots=[]").code == 0
    run = only_run(runs_dir)
    run.config.write_text(run.config.read_text().replace(f'"{table}"', "T.csv"))
    for path in (run.best, run.last):
        saved = load_checkpoint(path)
        dataset = saved.config["dataset"] | {"path": "T.csv"}
        save_checkpoint(path, replace(saved, config=saved.config | {"dataset": dataset}))
    write("data/T.csv", ANOTHER)
    assert "exactly as recorded" in dlrun("eval", "last").out, "where we are goes before the data folder"
    assert "already complete" in dlrun("resume", "last").out
    assert path_of(runs_dir) == str(table), "from now on it is found from everywhere"
    assert dlrun("resume", "last", "epochs=3").code == 0
    table.unlink()
    refused = dlrun("eval", "last")
    assert (refused.code, str(table) in refused.err) == (2, True)
    moved = write("elsewhere/moved.csv", TABLE)
    assert "exactly as recorded" in dlrun("eval", "last", f"dataset.path={moved}").out


@pytest.mark.parametrize("folder", ["runs", "elsewhere", "data"])
def test_data_that_moved_are_found_by_their_name_and_it_is_said(
    folder: str,
    dlrun: Dlrun,
    config: Path,
    write: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = write("project/T.csv", TABLE)
    assert dlrun("train", config).code == 0
    monkeypatch.chdir(tmp_path / "elsewhere")
    moved = table.rename(tmp_path / folder / "T.csv")
    for command in ("eval", "plot", "reproduce", "resume"):  # the last one records the new place
        done = dlrun(command, "own-001", *["epochs=3"] * (command == "resume"))
        assert done.code == 0, (command, done.err)
        assert f"the data are no longer at {table}; taken from {moved}" in done.out + done.err, command
    assert "no longer" not in dlrun("eval", "own-001").err


def test_other_data_of_the_same_name_are_no_data_that_moved(
    dlrun: Dlrun, config: Path, write: Write, runs_dir: Path
) -> None:
    table = write("project/T.csv", TABLE)
    assert dlrun("train", config).code == 0
    table.unlink()
    other = write("runs/T.csv", ANOTHER)
    for command, code in (("eval", 2), ("plot", 2), ("reproduce", 2), ("resume", 4)):
        done = dlrun(command, "own-001", *["epochs=3"] * (command == "resume"))
        assert done.code == code, (command, done.out)
        assert command == "resume" or str(other) in done.err, command
    assert [each.name for each in runs_dir.iterdir() if each.is_dir()] == ["own-001"]


def test_data_with_a_changed_cell_are_called_other_data_and_can_be_judged(
    dlrun: Dlrun, config: Path, write: Write, runs_dir: Path
) -> None:
    write("project/T.csv", TABLE)
    assert dlrun("train", config, "plots=[]").code == 0
    other = write("data/other.csv", TABLE.replace("5,10", "5,99"))  # found there, but not by --on
    remedies = dict.fromkeys(("eval", "plot"), f"dlrun eval RUN --on {other}")
    remedies["reproduce"] = f"dlrun eval {runs_dir / 'own-001'} --on {other}"
    for command, remedy in remedies.items():
        done = dlrun(command, "own-001", "dataset.path=other.csv")
        assert done.code == 2
        assert "other.csv is not that of training: its fingerprint was " in done.err, done.err
        assert "dataset.path" in done.err and remedy in done.err, done.err
        assert "say where it is" not in done.err, "that was done"
    judged = dlrun("eval", "own-001", "--on", other, "--json")
    assert json.loads(judged.out)["examples"] == 20, judged.err


def test_each_command_that_misses_data_names_one_remedy_and_takes_it(
    dlrun: Dlrun, config: Path, write: Write, tmp_path: Path
) -> None:
    table = write("project/T.csv", TABLE)
    assert dlrun("train", config).code == 0
    moved = table.rename(tmp_path / "elsewhere" / "U.csv")
    assert dlrun("predict", "own-001", moved).code == 0, "no training data are needed"
    for command in ("eval", "plot", "reproduce", "resume"):
        words = ["epochs=3"] * (command == "resume")
        missed = dlrun(command, "own-001", *words)
        assert (missed.code, "say where it is with dataset.path=…" in missed.err) == (2, True), missed.err
        done = dlrun(command, "own-001", *words, f"dataset.path={moved}")
        assert done.code == 0, (command, done.err)
    other = dlrun("reproduce", "own-001", "epochs=1")
    assert (other.code, "only dataset.path=… may be given" in other.err) == (2, True)


@pytest.mark.slow
def test_a_folder_whose_name_is_no_text_holds_data_as_others_do(config: Path, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    folder.mkdir()
    for name, text in (("T.csv", TABLE), ("own.yaml", CONFIG)):
        (folder / name).write_text(text)
    for words in (["train", "own.yaml", "-q"], ["eval", "last"], ["resume", "last", "epochs=3", "-q"]):
        environment = os.environ | {"PYTHONPATH": str(PROJECT)}
        command = [sys.executable, "-m", "dlrun", *words]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr


def test_a_config_that_happens_to_be_called_config_yaml_is_none_of_a_run(
    dlrun: Dlrun, config: Path, write: Write, runs_dir: Path
) -> None:
    own = write("project/config.yaml", config.read_text())
    write("here/T.csv", TABLE)
    write("project/T.csv", ANOTHER)
    done = dlrun("train", own)
    assert done.code == 2
    assert "could be" in done.err
    assert not runs_dir.exists()


def test_a_pattern_is_there_if_it_matches_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    pattern, other = tmp_path / "*.csv", tmp_path / "*.tsv"
    assert found_at([pattern, pattern, other, tmp_path / "a.csv"]) == [pattern, tmp_path / "a.csv"]
