"""Locks of folders: one process at a time. The system frees a lock when its process ends, even by a kill."""

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

# Windows cannot open a folder: there a file in it is locked, and removed when the lock is freed. filelock,
# which PyTorch installs, locks a byte in the same way, but it creates the file to test if it is locked,
# and takes 37 ms to import, nearly as long as everything else that `dlrun runs` needs.
_FILE = None if fcntl else ".lock"


@contextmanager
def alone(folder: Path, progress: Progress, doing: str) -> Iterator[None]:
    """Hold the lock of this folder, which is created if missing; wait for a process that has the lock.

    `doing` tells in the progress display what that process does: "decodes images".
    """

    def opened() -> int:
        make_folder(folder, ANOTHER_DATA_DIR)
        return _opened(folder)

    def take(descriptor: int) -> None:
        if not locked(descriptor):
            for _ in progress(_waiting(descriptor), 1, f"waiting for a process that {doing}"):
                pass

    with _held(folder, opened, take):
        yield


PATIENCE = 10.0  # seconds: a worker of a killed run may hold the lock for a little longer


@contextmanager
def lock(folder: Path, said: Callable[[], dict[str, Any]], *, is_shared: bool = False) -> Iterator[None]:
    """Hold the lock of a folder. Raises RunFailed if another process keeps it for PATIENCE.

    `said` returns the pid and host that the other process may have written, as in `identity`. A lock that
    `is_shared` may be held by several processes, but by none beside one that holds it alone.
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
                if locked(descriptor, is_shared=is_shared):
                    return
            if time.monotonic() > deadline:
                who, other = "another process", said()  # it has just begun, or shares the lock
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
    """Return whether a process holds the lock of a folder now."""
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
    """Delete a folder whose lock this process holds. Raises OSError if the disk refuses.

    On Windows the lock's file and the emptied folder are removed when the lock is freed.
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
    """Delete a folder unless a process holds its lock; files that cannot be deleted are kept."""
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
    """Hold the lock of the folder that `opened` opens; `take` returns once this process has it, or raises.

    If the folder was replaced in the meantime, the lock is of the old one: start again.
    """
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
    """Open a folder, or its file on Windows, and return the descriptor to lock. Raises OSError."""
    if not _FILE:
        return os.open(folder, os.O_RDONLY)
    deadline = time.monotonic() + 1
    while True:
        try:
            return os.open(folder / _FILE, os.O_RDWR | os.O_CREAT, 0o666)
        except PermissionError:  # Windows is deleting it: the name goes when the last process closes it
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def locked(descriptor: int, *, is_shared: bool = False) -> bool:
    """Try to take the lock without waiting; return whether this process has it now."""
    try:
        if fcntl:  # Windows knows no shared locks
            fcntl.flock(descriptor, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
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
    """Free a lock. On Windows delete its file, and the folder if that is then empty."""
    _close(descriptor)
    if _FILE and is_ours:
        with suppress(OSError):  # Windows deletes no file that another process has opened to lock it
            (folder / _FILE).unlink()
            folder.rmdir()


def _close(descriptor: int) -> None:
    """Close a descriptor and so free its lock; Windows, which frees it late, is told to unlock first."""
    if not fcntl:
        with suppress(OSError):  # it was not locked
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]
    os.close(descriptor)


def _is(folder: Path, descriptor: int) -> bool:
    """Return whether the path still leads to the open folder or file: another process may have deleted it."""
    try:
        return os.path.samestat(os.fstat(descriptor), (folder / _FILE if _FILE else folder).stat())
    except FileNotFoundError:
        return False


def _waiting(descriptor: int) -> Iterator[None]:
    while not locked(descriptor):
        yield  # the caller may react to a signal
        time.sleep(0.1)
