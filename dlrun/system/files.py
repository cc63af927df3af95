"""Files written so that a crash leaves the old one or the new one, never a part of one; and their names."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from dlrun.errors import RunFailed

ANOTHER_RUNS_DIR = "name another --runs-dir"
ANOTHER_DATA_DIR = "name another --data-dir"
ANOTHER_OUT = "name another folder with --out"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_atomically(path: Path, write: Callable[[IO[bytes]], object], fix: str = ANOTHER_RUNS_DIR) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place of `path`.

    The file is on the disk before it has its name, and the name before this returns.
    Raises RunFailed, with the old file as it was, where the disk refuses.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with open(os.open(temporary, flags, 0o666), "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):  # what the disk refused first is what is said
            temporary.unlink()
        # torch.save hides the disk's own words in the context.
        cause = error.__context__ if isinstance(error, RuntimeError) else error
        if isinstance(cause, OSError):
            raise cannot_write(path, cause, fix) from None
        raise


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
    """Wait until the folder's names are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cannot_write(path: Path, error: OSError, fix: str = "") -> RunFailed:
    """What to say when the disk refuses."""
    first = "free some space" if error.errno in _FULL else "see that it can be written to"
    what = f"cannot write {path}: {error.strerror or error}"
    return RunFailed(what, fix=f"{first}, or {fix}" if fix else first)


def with_home(text: str) -> str:
    """A path with `~` or `~name` at its start as the shell means it; as it is where nobody has that name."""
    return os.path.expanduser(text)  # noqa: PTH111, Path.expanduser raises an error there
