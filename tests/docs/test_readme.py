"""The README can be followed to the letter: its commands end well in their order, and print what it shows."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from following import lines_of, occurs
from pages import blocks, page
from places import PROJECT

from dlrun.run_folders.run import Run

README = page("README.md")
BLOCKS = [content for _, _, content in blocks(README)]
ROWS = re.findall(r"^\| `dlrun ([^`]+)` \|", README, re.MULTILINE)
INSTALL, SHOWN, CONFIG, TREE, LOOP, TESTS = BLOCKS
FIRST = "train configs/spiral_relu.yaml"


SHORT = {
    "train": "epochs=20 dataset.points=20",
    "lr": "dataset.points=20",
    "resume": "epochs=30",
    "sweep": "epochs=5 dataset.points=20",
}


def test_its_commands_end_well_one_after_the_other(
    dlrun: Callable[..., Any], runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fewer epochs and examples than a reader has."""
    shutil.copytree(PROJECT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    assert INSTALL.rstrip().endswith(f"dlrun {FIRST}")
    folder = runs_dir / "spiral_relu-001"
    for command in (FIRST, *ROWS):
        words = shlex.split(command)
        if words[0] in SHORT:
            words = [*(word for word in words if not word.startswith("epochs=")), *SHORT[words[0]].split()]
        done = dlrun(*words)
        assert done.code == 0, f"dlrun {command}\n{done.out}{done.err}"
        if command == FIRST:
            files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
            assert {line.split()[0] for line in TREE.splitlines()[1:]} == files
    assert not (runs_dir / "spiral_relu-002").exists(), "the last row deletes it"
    assert Run(folder).summary()["status"] == "finished"


def test_the_config_that_it_shows_is_the_one_that_it_trains() -> None:
    assert (PROJECT / "configs" / "spiral_relu.yaml").read_text(encoding="utf-8") == CONFIG


def test_each_command_that_it_has_is_in_its_table(dlrun: Callable[..., Any]) -> None:
    there = set(re.findall(r"^│ ([a-z]+) ", dlrun("--help").out, re.MULTILINE))
    named = {command.split()[0] for command in ROWS} | {"predict", "calibrate", "export", "log", "train"}
    assert named == there


def test_the_files_to_which_it_leads_are_there() -> None:
    for path in re.findall(r"\]\(([\w./]+)\)|src=\"([\w./]+)\"", README):
        assert (PROJECT / "".join(path)).is_file(), path


@pytest.mark.slow
def test_a_stranger_follows_it_in_a_fresh_clone(tmp_path: Path) -> None:
    """Everything but its test command, by a shell, in an environment of its own."""
    clone = tmp_path / "dlrun"
    subprocess.run(["git", "clone", "-q", PROJECT, clone], check=True)
    script = "\n".join([INSTALL, "source .venv/bin/activate", *(f"dlrun {row}" for row in ROWS), LOOP])
    ours = ("PYTHONPATH", "DLRUN_PARTS", "VIRTUAL_ENV", "COLUMNS")  # the last by what runs tests at once
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", script], cwd=clone, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    printed = [line for line in lines_of(done.stdout) if not line.startswith("evaluate: ")]
    assert occurs([line for line in lines_of(SHOWN) if not line.startswith("evaluate: ")], printed)
