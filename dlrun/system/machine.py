"""What of the machine this process may use: processors and memory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dlrun.system.control_groups import limits


def cores(root: Path = Path("/")) -> int:
    """The processors that this process may use, a fraction of one counted as one.

    As many threads as a container's share rounded up would be stopped, all of them, for a part of the time.
    """
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(here, limits(root).cores)))


def memory(root: Path = Path("/")) -> int:
    """The bytes of memory that this process may use."""
    return int(min(_physical_memory(), limits(root).memory))


def limit_of_memory(root: Path = Path("/")) -> str:
    """The file that leaves this process less memory than the machine has; "" where there is none."""
    found = limits(root)
    return found.memory_file if found.memory < _physical_memory() else ""


def _physical_memory() -> int:
    """The bytes of memory that the machine has; without end where it does not say."""
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}) and hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    import ctypes

    if hasattr(ctypes, "WinDLL"):
        from dlrun.system import windows

        return windows.memory()
    return sys.maxsize
