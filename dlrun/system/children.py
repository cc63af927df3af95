"""Processes that Python begins: forked from a server where there can be one, else begun anew."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from dlrun.system.shortages import no_more_processes
from dlrun.system.signals import OF_A_TERMINAL

HAS_SERVER = "forkserver" in get_all_start_methods()  # not on Windows


def start_server(preloaded: list[str]) -> None:
    """Have the server begin to import modules, unless it has begun; meanwhile something else may be done.

    It has imported and not computed anything: a process that has computed with several threads cannot be
    forked. Where there is no server, nothing is done: each process imports for itself.
    """
    if not HAS_SERVER:
        return
    from multiprocessing import forkserver, resource_tracker

    get_context("forkserver").set_forkserver_preload(preloaded)
    resource_tracker.ensure_running()  # else the server's start begins it, which lets signals in again
    try:
        with _deaf():
            forkserver.ensure_running()
    except BlockingIOError:
        raise no_more_processes("the server of the workers cannot be started") from None


def begin(target: Callable[..., None], *arguments: Any) -> tuple[BaseProcess, Connection]:
    """A process that calls `target` with one end of a connection and some arguments, and the other end."""
    context: Any = get_context("forkserver" if HAS_SERVER else "spawn")
    here, there = context.Pipe()
    process = context.Process(target=target, args=(there, *arguments), daemon=False)
    with _without_program(), nullcontext() if HAS_SERVER else _deaf():
        process.start()
    there.close()
    return process, here


def leave_terminal() -> None:
    """In a process that was begun: hear no longer what a terminal signals to all of its processes."""
    if hasattr(os, "setsid"):
        os.setsid()
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, OF_A_TERMINAL)


def _deaf() -> AbstractContextManager[None]:
    """What begins in here does not hear what a terminal or a batch system signals to a group of processes."""
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
    """In here a process that begins does not run the file again that this program was started from."""
    main = vars(sys.modules["__main__"])
    program = main.pop("__file__", None)
    try:
        yield
    finally:
        if program is not None:
            main["__file__"] = program
