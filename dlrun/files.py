"""Files written so that a crash leaves the old one or the new one, never a part of one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

from dlrun.errors import RunFailed

ANOTHER_RUNS_DIR = "free some space, or name another --runs-dir"
ANOTHER_DATA_DIR = "free some space, or name another --data-dir"


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
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):  # torch.save hides the disk's own words in the context
            raise
        raise cannot_write(path, cause, fix) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Wait until the folder's names are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cannot_write(path: Path, error: OSError, fix: str = ANOTHER_RUNS_DIR) -> RunFailed:
    """What to say when the disk refuses."""
    return RunFailed(f"cannot write {path}: {error.strerror or error}", fix=fix)
