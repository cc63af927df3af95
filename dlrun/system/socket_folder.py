"""The folder of the fork server's socket: a killed sweep leaves it behind, and its resume removes it."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.util import get_temp_dir
from pathlib import Path

from dlrun.errors import RunFailed
from dlrun.system.children import HAS_SERVER
from dlrun.system.files import write_atomically

RECORD = "sockets.json"  # in the sweep's folder, while it trains
_OF_MULTIPROCESSING = re.compile(r"pymp-\w{8}")
_LONGEST_RECORD = 100_000  # bytes


@contextmanager
def recorded_sockets(folder: Path, record: str = RECORD) -> Iterator[None]:
    """Record in the sweep's folder where this process has its socket, because a kill leaves it behind.

    Folders of killed processes with the same record are removed at the start, and, if their workers were
    still saving their runs, again at the end.
    """
    if not HAS_SERVER:  # there is no such socket
        yield
        return
    path_of_record = folder / record
    left = [path for path in _recorded(path_of_record) if not _removed(path)]
    content = {"host": socket.gethostname(), "folders": [*map(str, left), get_temp_dir()]}
    with suppress(RunFailed):  # a full disk is reported by the runs
        write_atomically(path_of_record, lambda file: file.write(json.dumps(content).encode()))
    try:
        yield
    finally:
        for path in left:
            _removed(path)
        with suppress(OSError):
            path_of_record.unlink()


def _recorded(record: Path) -> list[Path]:
    """The folders in a record, if it was written on this machine; its content is untrusted."""
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        if record.is_symlink() or not record.is_file() or record.stat().st_size > _LONGEST_RECORD:
            return []
        content = json.loads(record.read_text(encoding="utf-8"))
        if content["host"] == socket.gethostname():
            return [Path(name) for name in content["folders"]]
    return []


def _removed(folder: Path) -> bool:
    """Remove a folder of this user that holds only sockets to which no process listens.

    Return False if a process still listens, else True.
    """
    with suppress(OSError, ValueError):
        status = folder.lstat()
        is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
        if not is_ours or not folder.is_absolute() or not _OF_MULTIPROCESSING.fullmatch(folder.name):
            return True
        inside = list(folder.iterdir())
        if not all(path.name.startswith("listener-") and path.is_socket() for path in inside):
            return True
        if any(_is_heard(path) for path in inside):
            return False
        for path in inside:
            path.unlink()
        folder.rmdir()
    return True


def _is_heard(path: Path) -> bool:
    """Return whether a process listens to a socket, without a connection, which would confuse it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:  # another type than the listener's
        return asking.connect_ex(str(path)) != errno.ECONNREFUSED
