"""One process at a time at work in a folder; the others wait for it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dlrun.data import Watching
from dlrun.system.files import ANOTHER_DATA_DIR, make_folder


@contextmanager
def alone(folder: Path, watching: Watching, doing: str) -> Iterator[None]:
    """Be the only process that writes to this folder, which is made; wait for one that is `doing` so."""
    while True:
        make_folder(folder, ANOTHER_DATA_DIR)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            if not locked(descriptor):
                for _ in watching(_waiting(descriptor), 1, f"waiting for a process that {doing}"):
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
