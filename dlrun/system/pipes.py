"""Configs from a pipe: `dlrun train <(…)`, `… | dlrun train /dev/stdin`, or a named pipe.

A pipe can be read only once, but a command reads its config several times. So a pipe named on the command
line is read into memory (`receive`), and reading the config takes it from there (`received`). Any other
pipe, such as one that a config names as its base, is never waited for.
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

PATIENCE = 3.0  # seconds within which a process must begin to write to a named pipe
_received: dict[Path, bytes] = {}


def received(path: Path) -> bytes | None:
    """The content that was read from the pipe at this path; None if none was."""
    return _received.get(path)


def receive(path: Path) -> None:
    """If a path is a pipe, read it to its end, or until it exceeds the size limit of a config.

    The writer may take any time. Raises UserError if no process writes.
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
            except BlockingIOError:  # a process has it open for writing
                select.select([descriptor], [], [])
                continue
            if not piece and (raw or time.monotonic() > deadline):
                break
            raw += piece
            if not piece:  # no process has it open yet
                time.sleep(0.01)
    finally:
        os.close(descriptor)
    if not raw:
        raise UserError(f"no process writes to the pipe {path}", fix="write a config into it")
    _received[path] = raw


def _is_pipe(path: Path) -> bool:
    with suppress(OSError, ValueError):
        return stat.S_ISFIFO(path.stat().st_mode)
    return False


def folder_beside(path: Path) -> Path:
    """The folder in which a config looks for its base; for an unnamed pipe the current one."""
    return Path() if path in _received and not _has_a_name(path) else path.parent


def name_of(path: Path) -> str:
    """The default name of a run: that of the config file, of a run's folder for config.yaml, or `pipe`."""
    if path in _received and path.parent.name == "fd":  # /dev/fd/63 is no useful name
        return "pipe"
    return path.parent.name if path.name == "config.yaml" else path.stem


def _has_a_name(path: Path) -> bool:
    """Return whether a pipe is a named one, and not that of a `|` or a `<(…)`."""
    return Path(os.path.realpath(path)).exists()
