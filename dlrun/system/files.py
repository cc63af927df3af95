"""Files: opened without blocking, and replaced atomically, so that a crash leaves the old or the new one."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from dlrun.errors import RunFailed

ANOTHER_RUNS_DIR = "name another --runs-dir"
ANOTHER_DATA_DIR = "name another --data-dir"
ANOTHER_OUT = "name another folder with --out"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_IN_USE = (5, 32, 33)  # Windows: access denied, sharing violation, lock violation
PATIENCE = 2.0  # seconds of retries for a file that a reader or a virus scanner has open


def _flags(*names: str) -> int:
    """The named flags of os.open, without those that this system lacks."""
    flags = 0
    for name in names:
        flags |= getattr(os, name, 0)
    return flags


# O_BINARY: Windows would write each line end as two bytes. O_NONBLOCK: opening a pipe could block for ever.
READ = _flags("O_RDONLY", "O_NONBLOCK", "O_BINARY")
_WRITE_ANEW = _flags("O_WRONLY", "O_CREAT", "O_TRUNC", "O_NOFOLLOW", "O_BINARY")
_APPEND = _flags("O_WRONLY", "O_CREAT", "O_APPEND", "O_NOFOLLOW", "O_BINARY")


def open_to_read(path: Path | str) -> IO[bytes]:
    """Open a file for reading without blocking; a caller that wants no pipe checks the type afterwards.

    Raises OSError; for a folder IsADirectoryError on every system.
    """
    try:
        return open(path, "rb", opener=lambda name, _: os.open(name, READ))
    except PermissionError:
        if Path(path).is_dir():  # Windows raises PermissionError for it
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path)) from None
        raise


def open_to_append(path: Path) -> int:
    """Open a file for appending and return its descriptor; it is created if missing, a link is refused."""
    return os.open(path, _APPEND, 0o666)


class NotAFile(OSError):
    """The path to be read is a folder, a pipe or a device."""

    def __init__(self) -> None:
        super().__init__(errno.EINVAL, "it is no regular file")


class TooLarge(OSError):
    """A file has more bytes than the upper bound for its kind."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(errno.EFBIG, f"it has {size:,} bytes, and at most {most:,} are read")
        self.size = size


def is_missing(path: Path) -> bool:
    """Return whether a path surely does not exist: False if permission to look is missing."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def is_file(path: Path) -> bool:
    """Return whether a path is a regular file; False if permission to look is missing."""
    try:
        return path.is_file()
    except PermissionError:
        return False


def open_bounded(path: Path, most: int) -> IO[bytes]:
    """Open a regular file of at most `most` bytes for reading.

    Raises OSError: TooLarge for a larger file, NotAFile for anything else, such as a pipe, which may never
    end.
    """
    descriptor = os.open(path, READ)
    try:
        _refuse_beyond(most, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return open(descriptor, "rb")


def _refuse_beyond(most: int, descriptor: int) -> int:
    """Return the size of an open file in bytes. Raises NotAFile and TooLarge."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise NotAFile
    if status.st_size > most:
        raise TooLarge(status.st_size, most)
    return status.st_size


def read_bounded(path: Path, most: int) -> bytes:
    """The bytes of a regular file of at most `most` bytes. Raises OSError as `open_bounded` does."""
    # Only system calls: Python's file objects took two thirds of the time for a thousand summaries.
    descriptor = os.open(path, READ)
    try:
        left = _refuse_beyond(most, descriptor)
        pieces = []
        while left > 0 and (piece := os.read(descriptor, left)):
            pieces.append(piece)
            left -= len(piece)
    finally:
        os.close(descriptor)
    return b"".join(pieces)


def unshare(path: Path, most: int) -> None:
    """Replace a file that has hard links by a copy, before it is written in place.

    The other links keep their content: they may be a backup made by `cp -al` or rsync, or another user's
    file. The copy replaces the link atomically. Raises OSError, with nothing changed, if the file has more
    than `most` bytes, and RunFailed if the disk refuses.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if status.st_nlink > 1 and stat.S_ISREG(status.st_mode):
        with open_bounded(path, most) as shared:
            write_atomically(path, lambda own: shutil.copyfileobj(shared, own), fix="")


def write_atomically(
    path: Path,
    write: Callable[[IO[bytes]], object],
    fix: str = ANOTHER_RUNS_DIR,
    needed: Callable[[], int] = lambda: 0,
) -> None:
    """Let `write` fill a temporary file beside `path`, then replace `path` with it.

    The content is synced to the disk before the rename, and the rename before this returns.
    Raises RunFailed, with the old file unchanged, if the disk refuses; `needed` gives the minimum number of
    bytes to be written, if known.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(os.open(temporary, _WRITE_ANEW, 0o666), "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        put_in_place(temporary, path)
    except BaseException as error:
        with suppress(OSError):  # the first error is the one to report
            temporary.unlink()
        # torch.save hides the OSError in the context of its RuntimeError.
        cause = error.__context__ if isinstance(error, RuntimeError) else error
        if isinstance(cause, OSError):
            raise cannot_write(path, cause, fix, needed()) from None
        raise


def put_in_place(temporary: Path, path: Path) -> None:
    """Give a file that is complete and synced to the disk its name, which is synced before this returns."""
    _replace(temporary, path)
    sync_folder(path.parent)


def _replace(temporary: Path, path: Path) -> None:
    """Rename a file over another. Windows refuses while a process has it open: retry for PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            os.replace(temporary, path)
            return
        except PermissionError as error:
            if getattr(error, "winerror", None) not in _IN_USE or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def make_folder(folder: Path, fix: str = "") -> None:
    """Create a folder and its missing parents, synced to the disk before this returns.

    Raises RunFailed if the disk refuses, or if the path exists and is no folder.
    """
    try:
        if folder.is_dir():
            return
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for made in missing:
            sync_folder(made.parent)
    except (FileExistsError, NotADirectoryError):
        file = next(each for each in (folder, *folder.parents) if each.exists())
        raise RunFailed(f"cannot write {folder}: {file} is not a folder", fix=fix) from None
    except OSError as error:
        raise cannot_write(folder, error, fix) from None


def sync_folder(folder: Path) -> None:
    """Sync the entries of a folder to the disk; nothing is done on Windows, which cannot open a folder."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cannot_write(path: Path, error: OSError, fix: str = "", needed: int = 0) -> RunFailed:
    """The error for a write that the disk refused; `needed` is its size in bytes, 0 if unknown."""
    first = "free some space" if error.errno in _FULL else "see that it can be written to"
    if error.errno == errno.ENOSPC:
        first += _in_figures(needed, path)
    what = f"cannot write {path}: {error.strerror or error}"
    return RunFailed(what, fix=f"{first}, or {fix}" if fix else first)


def with_home(text: str) -> str:
    """Expand a leading `~` or `~name` as a shell does; a path with an unknown user name stays unchanged."""
    return os.path.expanduser(text)  # noqa: PTH111, Path.expanduser raises an error there


def _in_figures(needed: int, path: Path) -> str:
    """The needed and the free bytes of a full disk, in words; "" if it lacks other things, such as inodes."""
    try:
        free = shutil.disk_usage(next(each for each in path.parents if each.exists())).free
    except (OSError, StopIteration):
        return ""
    if needed > free:
        return f" ({size_text(needed)} are needed, and {size_text(free)} are free)"
    return f" ({size_text(free)} are free)" if not needed and free < 2**20 else ""


def size_text(count: int) -> str:
    """A number of bytes with its unit: 512 bytes, 4.0 MiB."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count} bytes"
