"""Configs that come through a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from places import PROJECT, TINY

from dlrun.config.loading import load_config
from dlrun.config.lookup import find_config
from dlrun.errors import UserError
from dlrun.system import pipes
from dlrun.system.bounds import CONFIG


@contextmanager
def nameless(text: str) -> Iterator[str]:
    """A pipe as <(…) makes it: a descriptor, and another process or thread that writes into it."""
    reading, writing = os.pipe()

    def write() -> None:
        with open(writing, "w") as file:
            file.write(text)

    writer = threading.Thread(target=write)
    writer.start()
    yield f"/dev/fd/{reading}"
    writer.join()
    os.close(reading)


def into(pipe: Path, text: str) -> threading.Thread:
    """Write into a named pipe from elsewhere."""
    writer = threading.Thread(target=lambda: pipe.write_text(text))
    writer.start()
    return writer


@pytest.mark.usefixtures("no_hanging")
def test_a_config_from_a_pipe_trains_and_its_run_is_resumed_without_it(dlrun: Any, runs_dir: Path) -> None:
    with nameless(TINY) as path:
        done = dlrun("train", path, "--stop-after", 1, "--quiet")
    assert (done.code, done.out.strip()) == (0, str(runs_dir / "pipe-001")), done
    assert dlrun("resume", "pipe").code == 0
    with nameless(TINY) as path:
        assert dlrun("sweep", path, "optimizer.lr=0.1,0.2", "--dry-run", "--jobs", 1).code == 0
    with nameless("sweep: {optimizer.lr: [0.1, 0.2]}\n" + TINY) as path:
        assert "under sweep:" in dlrun("train", path).err


@pytest.mark.usefixtures("no_hanging")
def test_a_named_pipe_names_its_run_and_has_its_base_beside_it(
    dlrun: Any, write: Any, tmp_path: Path
) -> None:
    write("base.yaml", TINY)
    os.mkfifo(pipe := tmp_path / "mine.yaml")
    writer = into(pipe, "base: base.yaml\nepochs: 1\n")
    assert dlrun("train", pipe, "--quiet").out.endswith("mine-001\n")
    writer.join()


def test_stdin_is_a_config_whatever_is_behind_it(tiny: Path) -> None:
    """The one mistake is that of the command line: the rest was read, and nothing had to be imported."""
    command = [sys.executable, "-m", "dlrun", "train", "/dev/stdin", "optimizer.lrate=1"]
    with tiny.open() as file:
        from_file = subprocess.run(command, stdin=file, capture_output=True, text=True, cwd=PROJECT)
    from_pipe = subprocess.run(command, input=TINY, capture_output=True, text=True, cwd=PROJECT)
    assert from_file.stderr.startswith("error: ") and "there is no such option" in from_file.stderr
    assert (from_pipe.returncode, from_pipe.stderr) == (2, from_file.stderr)
    empty = subprocess.run(command, input="", capture_output=True, text=True, cwd=PROJECT)
    assert empty.returncode == 2
    assert empty.stderr.startswith("error: no process writes to the pipe /dev/stdin")


@pytest.mark.usefixtures("no_hanging")
def test_a_pipe_is_read_within_bounds_and_only_where_the_command_line_names_it(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(pipe := tmp_path / "pipe.yaml")
    monkeypatch.setattr(pipes, "PATIENCE", 0.1)
    with pytest.raises(UserError, match="no process writes to the pipe"):
        find_config(str(pipe))
    with pytest.raises(UserError, match="is not a file"):
        load_config(write("child.yaml", f"base: {pipe}\n"))
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # what is left over finds somebody
    monkeypatch.setattr(pipes, "PATIENCE", 5)
    writer = into(pipe, "# comment\n" * (CONFIG // 10 + 10))
    with pytest.raises(UserError, match="gives too much for a config"):
        load_config(find_config(str(pipe)))
    os.set_blocking(reader, True)  # the writer may be slower than this loop
    while os.read(reader, CONFIG):
        pass
    writer.join()
    os.close(reader)


def test_a_file_in_the_place_of_a_pipe_is_read_itself(write: Any, tmp_path: Path) -> None:
    os.mkfifo(path := tmp_path / "config.yaml")
    writer = into(path, TINY)
    assert load_config(find_config(str(path))).epochs == 3
    writer.join()
    path.unlink()
    write("config.yaml", TINY.replace("epochs: 3", "epochs: 4"))
    assert load_config(find_config(str(path))).epochs == 4
