"""Something else in place of a run is called what it is, and the message leads to a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlrun.run_folders.locating import create_run

Dlrun = Callable[..., Any]

# What is named in place of a run; the cause, and the remedy.
MISTAKEN = {
    "base.yaml": (
        "base.yaml is a config, not a run",
        "name its run, such as base-001, or train it: dlrun train",
    ),
    "new.yml": ("new.yml is a config, not a run", "train it: dlrun train new.yml"),
    "new": ("there is no run of the config new.yml in ", "train it first: dlrun train new.yml"),
    "spiral_relu": (
        "there is no run of the config spiral_relu in ",
        "train it first: dlrun train spiral_relu",
    ),
    "rent.csv": (
        "rent.csv is a table, not a run",
        "dlrun predict RUN rent.csv, or dlrun eval RUN --on rent.csv",
    ),
    "cat.jpg": ("cat.jpg is a JPEG image, not a run", "dlrun predict RUN cat.jpg"),
    "net.py": ("net.py is Python code, not a run", "name a run, or the file of a checkpoint"),
    "notes.txt": ("notes.txt is a file, not a run", "name a run, or the file of a checkpoint"),
    "runs/base-001/summary.json": ("is a file of the run base-001", "name the run: runs/base-001"),
    "runs/base-001/config.yaml": ("is a file of the run base-001", "name the run: runs/base-001"),
    "runs/base-001/plots": ("is a folder of the run base-001", "name the run: runs/base-001"),
}
COMMANDS = (
    "eval {}",
    "plot {}",
    "calibrate {}",
    "export {}",
    "predict {} rent.csv",
    "resume {}",
    "reproduce {}",
    "diff {} base",
    "compare {}",
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    run = create_run(Path("runs"), "base", "epochs: 3\n")
    run.write_json("summary.json", {"epochs": 3})
    for name in ("base.yaml", "new.yml", "notes.txt", "net.py", "rent.csv"):
        Path(name).write_text("epochs: 3\n")
    Path("cat.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    for name in ("broken.pt", "cut.bin"):
        Path(name).write_bytes(b"PK\x03\x04 and so on")
    return tmp_path


@pytest.mark.parametrize("named", MISTAKEN)
@pytest.mark.usefixtures("here")
def test_what_is_no_run_is_called_what_it_is_by_every_command(named: str, dlrun: Dlrun) -> None:
    cause, remedy = MISTAKEN[named]
    for command in COMMANDS:
        done = dlrun(*command.format(named).split())
        assert done.code == 2
        assert cause in done.err and remedy in done.err, (command, done.err)
        assert "damaged" not in done.err


@pytest.mark.usefixtures("here")
def test_a_damaged_checkpoint_is_still_called_one(dlrun: Dlrun) -> None:
    for name in ("broken.pt", "cut.bin"):
        done = dlrun("eval", name)
        assert done.code == 4 and "checkpoint is damaged" in done.err


@pytest.mark.usefixtures("here")
def test_a_folder_beside_a_config_of_another_program_is_no_run(dlrun: Dlrun) -> None:
    """The config.yaml of a project does not make its folder a run."""
    Path("config.yaml").write_text("a: 1\n")
    assert "rent.csv is a table, not a run" in dlrun("eval", "rent.csv").err
