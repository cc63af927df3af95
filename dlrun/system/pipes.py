"""Configs that come through a pipe: `dlrun train <(…)`, `… | dlrun train /dev/stdin`, or a named pipe.

A pipe gives what it holds once, and a command reads its config more than once. So the command line receives a
pipe that it names, and whoever reads the config then finds what came. Any other pipe, such as one that a
config names as its base, is never waited for.
"""

from __future__ import annotations

import os
import select
import stat
import time
from contextlib import suppress
from pathlib import Path

from dlrun.errors import UserError
from dlrun.system.bounds import CONFIG
from dlrun.system.files import READ

PATIENCE = 3.0  # seconds in which somebody must begin to write into a named pipe
_received: dict[Path, bytes] = {}


def received(path: Path) -> bytes | None:
    """What came through the pipe of this name; None where none was received."""
    return _received.get(path)


def receive(path: Path) -> None:
    """Where a path leads to a pipe, read it to its end, or until it has given more than a config may hold.

    Who writes may take any time. Raises UserError where nobody does.
    """
    _received.pop(path, None)
    if not _is_pipe(path):
        return
    try:
        descriptor = os.open(path, READ)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    raw, deadline = b"", time.monotonic() + (PATIENCE if _has_a_name(path) else 0)
    try:
        while len(raw) <= CONFIG:
            try:
                piece = os.read(descriptor, CONFIG)
            except BlockingIOError:  # somebody will write
                select.select([descriptor], [], [])
                continue
            if not piece and (raw or time.monotonic() > deadline):
                break
            raw += piece
            if not piece:  # nobody writes yet
                time.sleep(0.01)
    finally:
        os.close(descriptor)
    if not raw:
        raise UserError(f"{path} is a pipe into which nobody writes", fix="write a config into it")
    _received[path] = raw


def _is_pipe(path: Path) -> bool:
    with suppress(OSError, ValueError):
        return stat.S_ISFIFO(path.stat().st_mode)
    return False


def folder_beside(path: Path) -> Path:
    """The folder in which a config looks for its base: one from a pipe without a name, where the user is."""
    return Path() if path in _received and not _has_a_name(path) else path.parent


def name_of(path: Path) -> str:
    """What a run is named after by default: the file, its folder where that is a run's, or `pipe`."""
    if path in _received and path.parent.name == "fd":  # /dev/fd/63 says nothing
        return "pipe"
    return path.parent.name if path.name == "config.yaml" else path.stem


def _has_a_name(path: Path) -> bool:
    """Whether a pipe lies in a folder, and is not that of a `|` or a `<(…)`."""
    return Path(os.path.realpath(path)).exists()
