"""The processors and the memory that this process may use: those of the machine, less the limits set."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dlrun.system.control_groups import limits


def cores(root: Path = Path("/")) -> int:
    """The number of processors that this process may use, at least 1; a fraction is rounded down.

    With one thread more than its share a container's quota would pause all threads for part of the time.
    """
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(here, limits(root).cores)))


def memory(root: Path = Path("/")) -> int:
    """The bytes of memory that this process may use."""
    return int(min(_physical_memory(), limits(root).memory))


def limit_of_memory(root: Path = Path("/")) -> str:
    """The cgroup file that limits memory to less than the machine has; "" if there is none."""
    found = limits(root)
    return found.memory_file if found.memory < _physical_memory() else ""


def _physical_memory() -> int:
    """The bytes of memory that the machine has; sys.maxsize if the system does not tell."""
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}) and hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    import ctypes

    if hasattr(ctypes, "WinDLL"):
        from dlrun.system import windows

        return windows.memory()
    return sys.maxsize
