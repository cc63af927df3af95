"""Processes: the identity of this one, the state of another, command lines and timestamps."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

LAUNCHER = "DLRUN_LAUNCHER"  # the folder in which the first process leaves notes for its launcher


def host() -> str:
    """Return the name of this machine."""
    import socket  # takes milliseconds, and most commands do not need it

    return socket.gethostname()


def started_together(environment: Mapping[str, str]) -> int:
    """The number of processes that torchrun or another launcher has started with this one; 0 for none."""
    size, rank = (environment.get(name, "") for name in ("WORLD_SIZE", "RANK"))
    return int(size) if size.isdecimal() and int(size) > 1 and rank.isdecimal() else 0


def started_here(environment: Mapping[str, str]) -> int:
    """The number of those processes that are on this machine; 1 for a process that is alone."""
    here = environment.get("LOCAL_WORLD_SIZE", "")
    return int(here) if started_together(environment) and here.isdecimal() and int(here) else 1


def speaks_here(environment: Mapping[str, str]) -> bool:
    """True for the process that speaks for those of this machine: the first one that torchrun has started.

    Each process that dlrun itself has started speaks, to its launcher.
    """
    return LAUNCHER in environment or environment.get("LOCAL_RANK", environment.get("RANK", "0")) == "0"


def identity() -> dict[str, Any]:
    """The pid and the host of this process."""
    return {"pid": os.getpid(), "host": host()}


def is_still_there(summary: dict[str, Any]) -> bool:
    if summary.get("host") != host():
        return True  # a process of another machine cannot be checked
    return is_alive(summary.get("pid"))


def is_alive(pid: Any) -> bool:
    """Return whether a process with this id may exist on this machine; True for what is no number."""
    try:
        number = int(pid)
        if hasattr(signal, "SIGKILL"):
            os.kill(number, 0)  # sends no signal, only checks
            return True
        from dlrun.system import windows

        return windows.is_alive(number) if 0 < number < 2**32 else True
    except ProcessLookupError:
        return False
    except (OSError, TypeError, ValueError, OverflowError):
        return True


def now() -> str:
    """The time in UTC as text; such texts sort by time."""
    return stamp(datetime.now(UTC))


def stamp(time_in_utc: datetime) -> str:
    return time_in_utc.isoformat(timespec="microseconds")


def quoted(words: list[str]) -> str:
    """Quote a command for the system's shell; the cmd of Windows does not know single quotes."""
    if os.sep == "/":
        return shlex.join(words)
    from subprocess import list2cmdline

    return list2cmdline(words)


def command_line() -> list[str]:
    return ["dlrun", *sys.argv[1:]]
