"""Locks of folders: one process at a time, and a lock goes with its process, however that ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dlrun.errors import RunFailed
from dlrun.system.files import (
    ANOTHER_DATA_DIR,
    cannot_write,
    make_folder,
)
from dlrun.system.processes import is_still_there
from dlrun.system.progress import Progress


@contextmanager
def alone(folder: Path, progress: Progress, doing: str) -> Iterator[None]:
    """Be the only process that writes to this folder, which is made; wait for one that is `doing` so."""
    while True:
        make_folder(folder, ANOTHER_DATA_DIR)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            if not locked(descriptor):
                for _ in progress(_waiting(descriptor), 1, f"waiting for a process that {doing}"):
                    pass
            if _is(folder, descriptor):
                yield
                return
        finally:
            os.close(descriptor)


def locked(descriptor: int) -> bool:
    """Whether the open folder is ours now. A lock goes with its process, however that ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(folder: Path, descriptor: int) -> bool:
    """Whether the folder is still the one that was opened: who tidies may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except FileNotFoundError:
        return False


def _waiting(descriptor: int) -> Iterator[None]:
    while not locked(descriptor):
        yield  # where a signal may be heeded
        time.sleep(0.1)


PATIENCE = 10.0  # seconds: a worker of a killed run may hold its lock a little longer


@contextmanager
def lock(folder: Path, said: Callable[[], dict[str, Any]]) -> Iterator[None]:
    """Be the only process that writes to a folder. Raises RunFailed where another one is.

    `said` gives what that one may have said of itself: pid and host, as in `identity`.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise cannot_write(folder, error) from None
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    who, other = "a process that has just begun", said()  # and has not said so yet
                    if "pid" in other and is_still_there(other):
                        who = f"process {other['pid']} on {other.get('host', '?')}"
                    raise RunFailed(
                        f"{folder.name} is in use by {who}",
                        where=str(folder),
                        fix="wait until it is done, or stop it",
                    ) from None
                time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)


def is_in_use(folder: Path) -> bool:
    """Whether a process has the lock of a folder now."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
