"""The processors and the memory that this process may use: those of the machine, less the limits set."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path

from dlrun.system.control_groups import limits

CARDS = "CUDA_VISIBLE_DEVICES"  # the GPUs that CUDA shows to a process
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from malloc.h


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


def processor() -> str:
    """The name of the processor; "unknown" if the system does not tell."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next allocation; does nothing with other C libraries."""
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_M_TRIM_THRESHOLD, 128 * 2**20)
        library.mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)


def give_back_freed_memory() -> None:
    """Make glibc give freed memory back to the system; does nothing with other C libraries."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _physical_memory() -> int:
    """The bytes of memory that the machine has; sys.maxsize if the system does not tell."""
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}) and hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if hasattr(ctypes, "WinDLL"):
        from dlrun.system import windows

        return windows.memory()
    return sys.maxsize
