"""A killed sweep leaves a folder with a socket among the temporary files, which --resume removes."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.util import get_temp_dir
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from dlrun.system.socket_folder import RECORD, recorded_sockets


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """The folder of a socket to which nobody listens any more."""
    folder = tmp_path / "pymp-abcdefg_"
    folder.mkdir(0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "listener-12345678"))
    return folder


def record(folder: Path, *left: Path, host: str = "") -> Path:
    """The record of a killed sweep."""
    content = {"host": host or socket.gethostname(), "folders": [str(path) for path in left]}
    (folder / RECORD).write_text(json.dumps(content))
    return folder


def test_while_a_sweep_trains_its_folder_names_the_folder_of_its_socket(tmp_path: Path) -> None:
    with recorded_sockets(tmp_path):
        assert json.loads((tmp_path / RECORD).read_text())["folders"] == [get_temp_dir()]
    assert not (tmp_path / RECORD).exists()
    assert Path(get_temp_dir()).is_dir(), "it is in use"


def test_what_a_killed_sweep_left_is_removed(tmp_path: Path, left: Path) -> None:
    with recorded_sockets(record(tmp_path, left)):
        assert not left.exists()


def test_a_socket_to_which_somebody_listens_is_left_until_nobody_does(tmp_path: Path, left: Path) -> None:
    next(left.iterdir()).unlink()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(left / "listener-12345678"))
    listener.listen()
    listener.setblocking(False)
    with recorded_sockets(record(tmp_path, left)):
        assert json.loads((tmp_path / RECORD).read_text())["folders"] == [str(left), get_temp_dir()]
        with pytest.raises(BlockingIOError):
            listener.accept()
        listener.close()
    assert not left.exists()


def other_name(left: Path) -> Path:
    return left.rename(left.with_name("precious"))


def other_file(left: Path) -> Path:
    (left / "listener-notes").write_text("mine")
    return left


def open_to_others(left: Path) -> Path:
    left.chmod(0o755)
    return left


def link(left: Path) -> Path:
    real = left.rename(left.with_name("real"))
    left.symlink_to(real)
    return left


@pytest.mark.parametrize("change", [other_name, other_file, open_to_others, link])
def test_what_is_not_as_a_sweep_left_it_stays(
    tmp_path: Path, left: Path, change: Callable[[Path], Path]
) -> None:
    changed = change(left)
    with recorded_sockets(record(tmp_path, changed)):
        pass
    assert any(path.name.startswith("listener-") for path in changed.iterdir())


def test_what_another_machine_left_stays(tmp_path: Path, left: Path) -> None:
    with recorded_sockets(record(tmp_path, left, host="another")):
        pass
    assert list(left.iterdir())


@pytest.mark.parametrize(
    "text", ["", "[]", '{"host": 1}', "[" * 10**4, '{"folders": 3}', '{"folders": ["\\u0000", 3]}']
)
def test_a_record_that_is_none_stops_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / RECORD).write_text(text.replace("{", '{"host": "' + socket.gethostname() + '", '))
    with recorded_sockets(tmp_path):
        pass
    assert not (tmp_path / RECORD).exists()


@pytest.mark.slow
def test_a_sweep_that_is_killed_and_resumed_leaves_nothing_among_the_temporary_files(
    tiny: Path, runs_dir: Path, dlrun_process: Callable[..., Any]
) -> None:
    with TemporaryDirectory(dir="/tmp") as folder:  # tmp_path may be too long for a socket
        killed_and_resumed(Path(folder), tiny, runs_dir, dlrun_process)


def killed_and_resumed(
    temporary: Path, tiny: Path, runs_dir: Path, dlrun_process: Callable[..., Any]
) -> None:
    options = {"env": os.environ | {"TMPDIR": str(temporary)}}
    words = ("optimizer.lr=1e-3,1e-2", "epochs=1500", "--jobs", "2", "-q")
    killed = dlrun_process("sweep", tiny, *words, **options)
    until = time.monotonic() + 60
    while len(list(runs_dir.glob("*/*/metrics.csv"))) < 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert list(temporary.iterdir()), "else there is nothing to test"
    resumed = dlrun_process("sweep", "--resume", "last", "-q", **options)
    _, said = resumed.communicate(timeout=120)
    assert (resumed.returncode, said) == (0, "")
    assert list(temporary.iterdir()) == []


def test_where_there_is_no_server_of_workers_there_is_no_socket_to_remove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlrun.system.socket_folder.HAS_SERVER", False)
    monkeypatch.delattr("os.getuid")
    (tmp_path / RECORD).write_text(
        json.dumps({"host": socket.gethostname(), "folders": ["/tmp/pymp-abcdefgh"]})
    )
    with recorded_sockets(tmp_path):
        assert (tmp_path / RECORD).exists()


@pytest.mark.slow
def test_a_folder_of_temporary_files_that_is_too_long_for_a_socket_stops_no_sweep(
    tmp_path: Path, tiny: Path, runs_dir: Path, dlrun_process: Callable[..., Any]
) -> None:
    temporary = tmp_path / ("long" * 20)
    temporary.mkdir()
    words = ("sweep", tiny, "optimizer.lr=1e-3,1e-2", "-q")
    done = dlrun_process(*words, env=os.environ | {"TMPDIR": str(temporary)})
    assert done.communicate(timeout=120)[1] == ""
    assert done.returncode == 0
    assert list(temporary.iterdir()) == []
