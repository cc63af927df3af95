"""Functions of Windows' kernel32 that Python does not wrap; used only on Windows."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_QUERY_LIMITED_INFORMATION = 0x1000
_STILL_ACTIVE = 259
_INVALID_PARAMETER = 87  # the error of OpenProcess if no process has this id


def is_alive(pid: int) -> bool:
    """Return whether a process with this id may exist. On Windows os.kill(pid, 0) would end it."""
    kernel = _kernel()
    kernel.OpenProcess.argtypes = (ctypes.c_uint32, ctypes.c_int, ctypes.c_uint32)
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(_QUERY_LIMITED_INFORMATION, False, pid)
    if not handle:  # the process may be another user's
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
    """MEMORYSTATUSEX, of which dlrun reads the total."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total", ctypes.c_uint64),
        ("others", ctypes.c_uint64 * 6),
    )


@contextmanager
def deaf_children() -> Iterator[None]:
    """Ignore Ctrl-C, which Windows sends to all processes of a console; children started here do so too."""
    kernel = _kernel()
    kernel.SetConsoleCtrlHandler(None, True)  # inherited by child processes
    try:
        yield
    finally:
        kernel.SetConsoleCtrlHandler(None, False)


def _kernel() -> Any:
    return ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
