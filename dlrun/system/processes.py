"""Which process this is, and whether another one is alive."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
from datetime import UTC, datetime
from typing import Any


def identity() -> dict[str, Any]:
    """Which process this is, on which machine."""
    return {"pid": os.getpid(), "host": socket.gethostname()}


def is_still_there(summary: dict[str, Any]) -> bool:
    if summary.get("host") != socket.gethostname():
        return True  # nothing can be said from here
    return is_alive(summary.get("pid"))


def is_alive(pid: Any) -> bool:
    """Whether there may be a process of this number here; what is no number may be one."""
    try:
        number = int(pid)
        if hasattr(signal, "SIGKILL"):
            os.kill(number, 0)  # only asks
            return True
        from dlrun.system import windows

        return windows.is_alive(number) if 0 < number < 2**32 else True
    except ProcessLookupError:
        return False
    except (OSError, TypeError, ValueError, OverflowError):
        return True


def now() -> str:
    """The time in UTC, so that texts compare as times do."""
    return stamp(datetime.now(UTC))


def stamp(time_in_utc: datetime) -> str:
    return time_in_utc.isoformat(timespec="microseconds")


def quoted(words: list[str]) -> str:
    """A command as the system's shell reads it: single quotes are none to Windows' cmd."""
    if os.sep == "/":
        return shlex.join(words)
    from subprocess import list2cmdline

    return list2cmdline(words)


def command_line() -> list[str]:
    return ["dlrun", *sys.argv[1:]]
