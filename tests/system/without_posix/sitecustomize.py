"""A Python without what Windows lacks, and with stand-ins for what Windows has instead.

Python finds this file through PYTHONPATH in each process that begins, in those of a sweep too. Libraries
still see a POSIX system by its name (os.name, sys.platform): dlrun has to go by what is there.
"""

import ctypes
import errno
import fcntl
import functools
import os
import signal
import stat
import subprocess  # noqa: F401, it takes a system that has msvcrt for Windows
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

IN_USE = 32  # ERROR_SHARING_VIOLATION
_flock, _kill, _stat = fcntl.flock, os.kill, os.stat
_KILL, _LOCK, _UNLOCK = signal.SIGKILL, fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_UN


def locking(descriptor: int, mode: int, size: int) -> None:
    """msvcrt.locking: one process has a byte of a file, until it frees it or ends."""
    assert stat.S_ISREG(os.fstat(descriptor).st_mode) and size == 1
    try:
        _flock(descriptor, _LOCK if mode == 2 else _UNLOCK)
    except BlockingIOError:
        raise PermissionError(errno.EACCES, "Permission denied") from None


class Kernel32:
    """The functions of kernel32 that dlrun calls; a handle is the number of its process."""

    def __init__(self, name: str, use_last_error: bool = False) -> None:
        assert (name, use_last_error) == ("kernel32", True)
        self.OpenProcess = lambda *arguments: self._open(*arguments)
        self.GetExitCodeProcess = lambda *arguments: self._exit_code(*arguments)
        self.GlobalMemoryStatusEx = lambda status: self._memory(status)
        self.SetConsoleCtrlHandler = lambda routine, ignore: 1
        self.CloseHandle = lambda handle: 1

    def _open(self, access: int, inherit: bool, pid: int) -> int:
        assert (access, inherit) == (0x1000, False)
        return pid if Path(f"/proc/{pid}").exists() else 0

    def _exit_code(self, handle: Any, code: Any) -> int:
        state = Path(f"/proc/{handle.value}/stat").read_text().rpartition(")")[2].split()[0]
        code._obj.value = 1 if state == "Z" else 259
        return 1

    def _memory(self, status: Any) -> int:
        assert status._obj.length == 64
        status._obj.total = 8 * 2**30
        return 1


def refusing(call: Callable[..., Any], is_refused: Callable[..., bool]) -> Callable[..., Any]:
    """A function of os that Windows refuses for what lies at some paths."""

    @functools.wraps(call)
    def called(*arguments: Any, **options: Any) -> Any:
        if is_refused(*arguments):
            error = PermissionError(errno.EACCES, "Access is denied", arguments[0])
            error.winerror = IN_USE  # type: ignore[attr-defined]
            raise error
        return call(*arguments, **options)

    return called


def is_folder(path: Any, *_: Any) -> bool:
    try:
        return stat.S_ISDIR(_stat(path).st_mode)
    except OSError:
        return False


def is_open_here(*paths: Any) -> bool:
    """Return whether this process has one of the files open or memory-mapped: Windows then keeps its name."""
    wanted = {os.path.realpath(os.fsdecode(path)) for path in paths}
    held = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            held.add(os.readlink(f"/proc/self/fd/{name}"))  # noqa: PTH115, it is called for each file
        except OSError:  # that of this listing
            continue
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        held |= {line.rstrip("\n").partition("/")[2] for line in maps if "/" in line}
    return any(path in held or path.removeprefix("/") in held for path in wanted)


def kill(pid: int, number: int) -> None:
    """os.kill, whose every number but those of the console's events ends the process."""
    _kill(pid, _KILL)


def no_link(*_: Any, **__: Any) -> None:
    raise OSError(errno.EPERM, "A required privilege is not held by the client")


for module in ("fcntl", "resource", "pwd", "grp"):
    sys.modules[module] = None  # type: ignore[assignment]
fake: Any = types.ModuleType("msvcrt")
fake.locking, fake.LK_UNLCK, fake.LK_NBLCK = locking, 0, 2
sys.modules["msvcrt"] = fake
ctypes.WinDLL, ctypes.get_last_error = Kernel32, lambda: 87  # type: ignore[attr-defined]

for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGALRM", "SIGCHLD", "pthread_sigmask", "alarm"):
    delattr(signal, name)
for name in ("O_NOFOLLOW", "O_DIRECTORY", "O_NONBLOCK", "sysconf", "sched_getaffinity"):
    delattr(os, name)
for name in ("fork", "setsid", "killpg", "getuid", "getpgid", "chown", "mkfifo"):
    delattr(os, name)
for several in (os.supports_dir_fd, os.supports_fd):
    several.clear()

os.kill, os.symlink, os.link = kill, no_link, no_link  # type: ignore[assignment]
os.open = refusing(os.open, is_folder)
os.fsync = refusing(os.fsync, is_folder)
for name in ("replace", "rename", "unlink", "remove"):
    setattr(os, name, refusing(getattr(os, name), is_open_here))

import multiprocessing.context  # noqa: E402, now that there is no signal mask

for name in ("fork", "forkserver"):
    del multiprocessing.context._concrete_contexts[name]
multiprocessing.context.DefaultContext.get_all_start_methods = (  # type: ignore[method-assign]
    lambda self: ["spawn"]
)
multiprocessing.get_all_start_methods = lambda: ["spawn"]
multiprocessing.context._default_context._default_context = multiprocessing.context._concrete_contexts[
    "spawn"
]

# Windows gives this number to Ctrl-Break and to a console that is closed.
signal.SIGBREAK = signal.Signals(21)  # type: ignore[attr-defined]
