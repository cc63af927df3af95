"""Files opened with care, and written so that a crash leaves the old one or the new one, never a part."""

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
PATIENCE = 2.0  # seconds for which a file that is in use is tried again: a reader, a virus scanner


def _flags(*names: str) -> int:
    """Flags of os.open; one that this system lacks is left out."""
    flags = 0
    for name in names:
        flags |= getattr(os, name, 0)
    return flags


# O_BINARY: Windows would write each line end as two bytes. O_NONBLOCK: opening a pipe would wait for ever.
READ = _flags("O_RDONLY", "O_NONBLOCK", "O_BINARY")
_WRITE_ANEW = _flags("O_WRONLY", "O_CREAT", "O_TRUNC", "O_NOFOLLOW", "O_BINARY")
_APPEND = _flags("O_WRONLY", "O_CREAT", "O_APPEND", "O_NOFOLLOW", "O_BINARY")


def open_to_read(path: Path | str) -> IO[bytes]:
    """A file opened to be read, at once: who does not want a pipe looks at what it is afterwards.

    Raises OSError, for a folder IsADirectoryError on every system.
    """
    try:
        return open(path, "rb", opener=lambda name, _: os.open(name, READ))
    except PermissionError:
        if Path(path).is_dir():  # Windows refuses to open one
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path)) from None
        raise


def open_to_append(path: Path) -> int:
    """The descriptor of a file that is appended to, and made where it is missing; no link is followed."""
    return os.open(path, _APPEND, 0o666)


class NotAFile(OSError):
    """What should be read is a folder, a pipe or a device."""

    def __init__(self) -> None:
        super().__init__(errno.EINVAL, "it is no regular file")


class TooLarge(OSError):
    """A file has more bytes than any that belongs in its place."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(errno.EFBIG, f"it has {size:,} bytes, and at most {most:,} are read")
        self.size = size


def is_missing(path: Path) -> bool:
    """Whether there is surely nothing: in a folder that may not be read there could be anything."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def is_file(path: Path) -> bool:
    """Whether there is a regular file, as far as it may be looked for."""
    try:
        return path.is_file()
    except PermissionError:
        return False


def open_bounded(path: Path, most: int) -> IO[bytes]:
    """A regular file of at most `most` bytes, opened to be read.

    Raises OSError: NotAFile for anything else, of which a pipe would never end, and TooLarge for more.
    """
    descriptor = os.open(path, READ)
    try:
        _refuse_beyond(most, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return open(descriptor, "rb")


def _refuse_beyond(most: int, descriptor: int) -> int:
    """How many bytes an open file has. Raises NotAFile and TooLarge."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise NotAFile
    if status.st_size > most:
        raise TooLarge(status.st_size, most)
    return status.st_size


def read_bounded(path: Path, most: int) -> bytes:
    """The bytes of a regular file of at most `most` bytes. Raises OSError as `open_bounded` does."""
    # Calls of the system alone: of a thousand summaries, Python's own files took two thirds of the time.
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
    """Give `path` a file of its own where hard links give other names to it, before it is written in place.

    Those names keep what they have: they may be a backup made by `cp -al` or rsync, or a file of somebody
    else's. The copy stands in place of the link at once and whole. Raises OSError, with all as it was, where
    there is more to copy than `most` bytes, and RunFailed where the disk refuses.
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
    """Let `write` fill a temporary file beside `path`, then put it in place of `path`.

    The file is on the disk before it has its name, and the name before this returns.
    Raises RunFailed, with the old file as it was, where the disk refuses; `needed` gives the
    bytes that it takes at least, as far as that is known.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(os.open(temporary, _WRITE_ANEW, 0o666), "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        _replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):  # what the disk refused first is what is said
            temporary.unlink()
        # torch.save hides the disk's own words in the context.
        cause = error.__context__ if isinstance(error, RuntimeError) else error
        if isinstance(cause, OSError):
            raise cannot_write(path, cause, fix, needed()) from None
        raise


def _replace(temporary: Path, path: Path) -> None:
    """Put a file in place of another. Windows refuses that while somebody has the other one open: it is tried
    again for PATIENCE.
    """
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
    """Make a folder, and those above it that are missing: their names are on the disk before this returns.

    Raises RunFailed where the disk refuses, or where something else has this name.
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
    """Wait until the folder's names are on the disk, where a folder can be opened: not on Windows."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cannot_write(path: Path, error: OSError, fix: str = "", needed: int = 0) -> RunFailed:
    """What to say when the disk refuses something that takes `needed` bytes, if that is known."""
    first = "free some space" if error.errno in _FULL else "see that it can be written to"
    if error.errno == errno.ENOSPC:
        first += _in_figures(needed, path)
    what = f"cannot write {path}: {error.strerror or error}"
    return RunFailed(what, fix=f"{first}, or {fix}" if fix else first)


def with_home(text: str) -> str:
    """A path with `~` or `~name` at its start as the shell means it; as it is where nobody has that name."""
    return os.path.expanduser(text)  # noqa: PTH111, Path.expanduser raises an error there


def _in_figures(needed: int, path: Path) -> str:
    """How much a full disk lacks; "" where it has room, and is short of something else, such as names."""
    try:
        free = shutil.disk_usage(next(each for each in path.parents if each.exists())).free
    except (OSError, StopIteration):
        return ""
    if needed > free:
        return f" ({size_text(needed)} are needed, and {size_text(free)} are free)"
    return f" ({size_text(free)} are free)" if not needed and free < 2**20 else ""


def size_text(count: int) -> str:
    """A number of bytes as a person says it: 512 bytes, 4.0 MiB."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count} bytes"
