"""Processes that train one run after another.

PyTorch is imported once for all of them, where the system can fork. Each ends by itself, its run saved, when
the process that began it is gone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import cast

from dlrun.sweeps.messages import STOP, Message
from dlrun.sweeps.worker_process import serve_runs
from dlrun.system import children
from dlrun.system.shortages import no_more_processes

_PRELOADED = ["dlrun.sweeps.preloaded"]


class Workers:
    """Up to `count` processes. `train` gives a run to one that waits; `messages` are what they say.

    `metric` is the figure whose progress they report: a column, or best.COLUMN.
    """

    def __init__(self, count: int, log: Path, metric: str, parts: Path | None, data_dir: Path) -> None:
        start_server()
        self._count, self._arguments = count, (log, metric, parts, data_dir)
        self._all: dict[Connection, BaseProcess] = {}
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
            if trained == folder:
                with suppress(OSError):  # killed
                    connection.send(STOP)

    def messages(self, seconds: float) -> Iterator[Message]:
        """What they say within so many seconds."""
        if not self._busy:
            time.sleep(seconds)
        for connection in cast("list[Connection]", wait(list(self._busy), seconds)):
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
        try:
            process, connection = children.begin(serve_runs, *self._arguments)
        except (EOFError, ConnectionError, BlockingIOError):  # the server ended, or a process was refused
            raise no_more_processes("no worker can be started") from None
        self._all[connection] = process
        return connection


def start_server() -> None:
    """Have the server that the processes are forked from begin to import, where there is one."""
    children.start_server(_PRELOADED)
