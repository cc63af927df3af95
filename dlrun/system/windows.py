"""Functions of Windows' kernel32, for which Python has no call of its own; used on Windows alone."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_QUERY_LIMITED_INFORMATION = 0x1000
_STILL_ACTIVE = 259
_INVALID_PARAMETER = 87  # what OpenProcess says of a number that no process has


def is_alive(pid: int) -> bool:
    """Whether there may be a process of this number. os.kill(pid, 0), which asks elsewhere, would end it."""
    kernel = _kernel()
    kernel.OpenProcess.argtypes = (ctypes.c_uint32, ctypes.c_int, ctypes.c_uint32)
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(_QUERY_LIMITED_INFORMATION, False, pid)
    if not handle:  # it may be another user's
        return bool(ctypes.get_last_error() != _INVALID_PARAMETER)  # type: ignore[attr-defined]
    code = ctypes.c_uint32()
    try:
        known = kernel.GetExitCodeProcess(ctypes.c_void_p(handle), ctypes.byref(code))
        return not known or code.value == _STILL_ACTIVE
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))


def memory() -> int:
    """The bytes of memory that the machine has."""
    status = _MemoryStatus()
    status.length = ctypes.sizeof(status)
    if not _kernel().GlobalMemoryStatusEx(ctypes.byref(status)):
        raise ctypes.WinError(ctypes.get_last_error())  # type: ignore[attr-defined]
    return int(status.total)


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX, of which dlrun reads how much there is in all."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total", ctypes.c_uint64),
        ("others", ctypes.c_uint64 * 6),
    )


@contextmanager
def deaf_children() -> Iterator[None]:
    """A process that begins in here does not hear Ctrl-C, which goes to all processes of a console."""
    kernel = _kernel()
    kernel.SetConsoleCtrlHandler(None, True)  # is inherited
    try:
        yield
    finally:
        kernel.SetConsoleCtrlHandler(None, False)


def _kernel() -> Any:
    return ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
