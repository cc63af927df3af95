"""Child processes: forked from a fork server where the system has one, spawned otherwise."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from dlrun.system.shortages import no_more_processes
from dlrun.system.signals import OF_A_TERMINAL

_LONGEST_TMPDIR = 103 - len("/pymp-12345678/listener-12345678")  # macOS: 104 bytes, with one for the end
HAS_SERVER = "forkserver" in get_all_start_methods()  # not on Windows


def start_server(preloaded: list[str]) -> None:
    """Start the fork server, if it is not running; it imports modules in the background.

    The server imports but never computes: a process that has computed with several threads cannot be
    forked. On a system without fork server nothing is done, and each process imports for itself.
    """
    if not HAS_SERVER:
        return
    from multiprocessing import forkserver, resource_tracker

    _make_socket_folder()
    get_context("forkserver").set_forkserver_preload(preloaded)
    resource_tracker.ensure_running()  # else the server's start begins it, which lets signals in again
    try:
        with _deaf():
            forkserver.ensure_running()
    except BlockingIOError:
        raise no_more_processes("the server of the workers cannot be started") from None


def _make_socket_folder() -> None:
    """Create multiprocessing's folder of sockets, below /tmp if TMPDIR is too long for a socket's path."""
    from multiprocessing.util import get_temp_dir

    before = tempfile.gettempdir()
    if len(os.fsencode(before)) > _LONGEST_TMPDIR and os.access("/tmp", os.W_OK | os.X_OK):
        tempfile.tempdir = "/tmp"
    try:
        get_temp_dir()  # remembered by multiprocessing until the process exits
    finally:
        tempfile.tempdir = before


def begin(target: Callable[..., None], *arguments: Any) -> tuple[BaseProcess, Connection]:
    """Start a process that calls `target(connection, *arguments)`; return it and this end of the pipe.

    Raises RunFailed if the fork server has ended, or no further process may be started.
    """
    context: Any = get_context("forkserver" if HAS_SERVER else "spawn")
    here, there = context.Pipe()
    process = context.Process(target=target, args=(there, *arguments), daemon=False)
    try:
        with _without_program(), nullcontext() if HAS_SERVER else _deaf():
            process.start()
    except (EOFError, ConnectionError, BlockingIOError):
        raise no_more_processes("no worker can be started") from None
    there.close()
    return process, here


def begin_for_another(target: Callable[..., None], *arguments: Any) -> tuple[BaseProcess, Connection, str]:
    """Start a process that calls `target(pipe, listening, *arguments)`; return it, this end and an address.

    Another process of this user connects to the Unix socket at the address, to which `listening` listens.
    """
    from multiprocessing.util import get_temp_dir

    address = f"{get_temp_dir()}/listener-{os.urandom(4).hex()}"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(1)
        process, pipe = begin(target, listening, *arguments)
    return process, pipe, address


def connected(address: str) -> Connection:
    """A connection to the process that listens at an address. Raises OSError if it has ended."""
    with socket.socket(socket.AF_UNIX) as calling:
        calling.connect(address)
        return Connection(calling.detach())


def remove_socket() -> None:
    """Remove the socket of the fork server, which then starts no further process, and leaves no file behind.

    Not even if it is killed.
    """
    if HAS_SERVER:
        from multiprocessing.util import get_temp_dir

        shutil.rmtree(get_temp_dir(), ignore_errors=True)


def leave_terminal() -> None:
    """In a child process: leave the session of the terminal, so that Ctrl-C there no longer reaches it."""
    if hasattr(os, "setsid"):
        os.setsid()
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, OF_A_TERMINAL)


def _deaf() -> AbstractContextManager[None]:
    """Block the signals that a terminal or a batch system sends to a process group.

    A process started in this context inherits the blocked signals.
    """
    if hasattr(signal, "pthread_sigmask"):
        return _blocked()
    from dlrun.system import windows

    return windows.deaf_children()


@contextmanager
def _blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, OF_A_TERMINAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _without_program() -> Iterator[None]:
    """Hide the main program's file, so that a process started in this context does not run it again."""
    main = vars(sys.modules["__main__"])
    program = main.pop("__file__", None)
    try:
        yield
    finally:
        if program is not None:
            main["__file__"] = program
