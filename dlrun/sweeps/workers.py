"""Processes that train one run after another, with PyTorch imported once for all of them.

They are forked from a server that has imported and not computed anything: a process that has computed with
several threads cannot be forked. Each ends by itself, its run saved, when the process that began it is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from multiprocessing.forkserver import ensure_running
from pathlib import Path

from dlrun.sweeps.messages import Message
from dlrun.sweeps.worker_process import SIGNALS, serve_runs

_PRELOADED = ["dlrun.training.experiment", "dlrun.training.plan", "dlrun.plots.curves"]


class Workers:
    """Up to `count` processes. `train` gives a run to one that waits; `messages` are what they say.

    `metric` is the figure whose progress they report: a column, or best.COLUMN.
    """

    def __init__(self, count: int, log: Path, metric: str, parts: Path | None, data_dir: Path) -> None:
        start_server()
        self._context = get_context("forkserver")
        self._count, self._arguments = count, (log, metric, parts, data_dir)
        self._all: dict[Connection, ForkServerProcess] = {}
        self._busy: dict[Connection, Path] = {}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._all:
            connection.close()  # it takes this for the end
        for process in self._all.values():
            process.join()

    @property
    def is_free(self) -> bool:
        """Whether a run can be given to one of them now."""
        return len(self._busy) < self._count

    @property
    def training(self) -> list[Path]:
        """The runs that are being trained."""
        return list(self._busy.values())

    def train(self, folder: Path) -> None:
        """Have the run in a folder trained for the epochs that are left."""
        for waiting in [each for each in self._all if each not in self._busy]:
            try:
                waiting.send(folder)
            except OSError:  # killed while it had nothing to do
                self._all.pop(waiting).join()
            else:
                self._busy[waiting] = folder
                return
        waiting = self._begin()
        waiting.send(folder)
        self._busy[waiting] = folder

    def stop(self, folder: Path) -> None:
        """Have a run saved and left where it is."""
        for connection, trained in self._busy.items():
            if trained == folder and (pid := self._all[connection].pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)

    def messages(self, seconds: float) -> Iterator[Message]:
        """What they say within so many seconds."""
        if not self._busy:
            time.sleep(seconds)
        for connection in wait(list(self._busy), seconds):
            assert isinstance(connection, Connection)
            try:
                message: Message = connection.recv()
            except (EOFError, OSError):  # killed
                folder, process = self._busy.pop(connection), self._all.pop(connection)
                process.join()
                yield Message("killed", folder, exit_code=process.exitcode or 1)
                continue
            if message.kind == "end":
                del self._busy[connection]
            yield message

    def _begin(self) -> Connection:
        here, there = self._context.Pipe()
        process = self._context.Process(target=serve_runs, args=(there, *self._arguments), daemon=False)
        with _without_program():
            process.start()
        there.close()
        self._all[here] = process
        return here


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


def start_server() -> None:
    """Have the server begin to import, unless it has begun; meanwhile something else may be done.

    A signal for the whole group of processes, as a terminal and a batch system send it, is none for it.
    """
    get_context("forkserver").set_forkserver_preload(_PRELOADED)
    resource_tracker.ensure_running()  # else the server's start begins it, which lets signals in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
