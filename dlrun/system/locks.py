"""Locks of folders: one process at a time, and a lock goes with its process, however that ends."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    import msvcrt

# Windows opens no folder: there a file in it is locked, which is removed when the lock is freed. filelock,
# which PyTorch installs, locks a byte in the same way, but it makes the file to find out whether it is
# locked, and takes 37 ms to import, nearly as long as all else that `dlrun runs` needs.
_FILE = None if fcntl else ".lock"


@contextmanager
def alone(folder: Path, progress: Progress, doing: str) -> Iterator[None]:
    """Be the only process that writes to this folder, which is made; wait for one that is `doing` so."""

    def opened() -> int:
        make_folder(folder, ANOTHER_DATA_DIR)
        return _opened(folder)

    def take(descriptor: int) -> None:
        if not locked(descriptor):
            for _ in progress(_waiting(descriptor), 1, f"waiting for a process that {doing}"):
                pass

    with _held(folder, opened, take):
        yield


PATIENCE = 10.0  # seconds: a worker of a killed run may hold its lock a little longer


@contextmanager
def lock(folder: Path, said: Callable[[], dict[str, Any]]) -> Iterator[None]:
    """Be the only process that writes to a folder. Raises RunFailed where another one is.

    `said` gives what that one may have said of itself: pid and host, as in `identity`.
    """

    def opened() -> int:
        try:
            return _opened(folder)
        except OSError as error:
            raise cannot_write(folder, error) from None

    def take(descriptor: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            with suppress(OSError):
                if locked(descriptor):
                    return
            if time.monotonic() > deadline:
                who, other = "a process that has just begun", said()  # and has not said so yet
                if "pid" in other and is_still_there(other):
                    who = f"process {other['pid']} on {other.get('host', '?')}"
                raise RunFailed(
                    f"{folder.name} is in use by {who}",
                    where=str(folder),
                    fix="wait until it is done, or stop it",
                )
            time.sleep(0.1)

    with _held(folder, opened, take):
        yield


_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)


def is_in_use(folder: Path) -> bool:
    """Whether a process has the lock of a folder now."""
    try:
        descriptor = os.open(folder / _FILE if _FILE else folder, _FOLDER)
    except OSError:
        return False
    try:
        return not locked(descriptor)
    except OSError:
        return False
    finally:
        _close(descriptor)


def remove_locked(folder: Path) -> None:
    """Delete a folder whose lock this process has. Raises OSError where the disk refuses.

    A file that is the lock goes when the lock is freed, and the emptied folder with it.
    """
    if not _FILE:
        shutil.rmtree(folder)
        return
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != _FILE:
            path.unlink()


def remove_unless_in_use(folder: Path) -> None:
    """Delete a folder that no process has; what cannot be deleted stays."""
    try:
        descriptor = _opened(folder)
    except OSError:
        return
    is_ours = False
    try:
        is_ours = locked(descriptor)
        if is_ours:
            with suppress(OSError):
                remove_locked(folder)
    finally:
        _free(folder, descriptor, is_ours)


@contextmanager
def _held(folder: Path, opened: Callable[[], int], take: Callable[[int], None]) -> Iterator[None]:
    """Hold the lock of a folder that `opened` opens; `take` returns once it is ours, or raises."""
    deadline = time.monotonic() + PATIENCE
    while True:
        descriptor, is_ours = opened(), False
        try:
            take(descriptor)
            # Some network disks give one folder two numbers.
            is_ours = _is(folder, descriptor) or time.monotonic() > deadline
            if is_ours:
                yield
                return
        finally:
            _free(folder, descriptor, is_ours)
        time.sleep(0.02)


def _opened(folder: Path) -> int:
    """The descriptor by which a folder is locked. Raises OSError."""
    if not _FILE:
        return os.open(folder, os.O_RDONLY)
    deadline = time.monotonic() + 1
    while True:
        try:
            return os.open(folder / _FILE, os.O_RDWR | os.O_CREAT, 0o666)
        except PermissionError:  # Windows is removing it: the name goes when the last process closes it
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def locked(descriptor: int) -> bool:
    """Whether the open folder is ours now. A lock goes with its process, however that ends."""
    try:
        if fcntl:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except BlockingIOError:
        return False
    except PermissionError:
        if fcntl:
            raise
        return False
    return True


def _free(folder: Path, descriptor: int, is_ours: bool) -> None:
    """Free a lock. The file that stands for it goes, and the folder if nothing else is left in it."""
    _close(descriptor)
    if _FILE and is_ours:
        with suppress(OSError):  # Windows removes no file that another process has opened to lock it
            (folder / _FILE).unlink()
            folder.rmdir()


def _close(descriptor: int) -> None:
    """Close what was locked or tried. Windows frees the lock of a file that is closed, but not at once."""
    if not fcntl:
        with suppress(OSError):  # it was not locked
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]
    os.close(descriptor)


def _is(folder: Path, descriptor: int) -> bool:
    """Whether the folder, or its file, is still the one that was opened: who tidies may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), (folder / _FILE if _FILE else folder).stat())
    except FileNotFoundError:
        return False


def _waiting(descriptor: int) -> Iterator[None]:
    while not locked(descriptor):
        yield  # where a signal may be heeded
        time.sleep(0.1)
