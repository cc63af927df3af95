"""The pool of worker processes of a sweep, each of which trains one run after another.

PyTorch is imported once for all of them if the system can fork. If the sweep's process ends, each worker
saves its run and exits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import cast

from dlrun.sweeps.messages import STOP, Message
from dlrun.sweeps.worker_process import serve_runs
from dlrun.system import children

_PRELOADED = ["dlrun.sweeps.preloaded"]


class Workers:
    """Up to `count` processes: `train` gives a run to an idle one, `messages` yields their reports.

    `metric` is the figure that they report: a column, or best.COLUMN. They are dealt to the GPUs called
    `cards`, if there are any, as evenly as possible.
    """

    def __init__(
        self,
        count: int,
        log: Path,
        metric: str,
        parts: Path | None,
        data_dir: Path,
        cards: Sequence[str] = (),
    ) -> None:
        start_server()
        self._count, self._arguments = count, (log, metric, parts, data_dir)
        self._cards, self._card_of = cards, dict[Connection, str | None]()
        self._all: dict[Connection, BaseProcess] = {}
        self._busy: dict[Connection, Path] = {}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._all:
            connection.close()  # the worker then exits
        for process in self._all.values():
            process.join()

    @property
    def is_free(self) -> bool:
        """True if a worker can take a run now."""
        return len(self._busy) < self._count

    @property
    def training(self) -> list[Path]:
        """The runs that are being trained."""
        return list(self._busy.values())

    def train(self, folder: Path) -> None:
        """Have a worker train the remaining epochs of the run in a folder; start one if none is idle."""
        for waiting in [each for each in self._all if each not in self._busy]:
            try:
                waiting.send(folder)
            except OSError:  # killed while idle
                self._forget(waiting).join()
            else:
                self._busy[waiting] = folder
                return
        waiting = self._begin()
        waiting.send(folder)
        self._busy[waiting] = folder

    def stop(self, folder: Path) -> None:
        """Tell the worker of a run to save a checkpoint and stop."""
        for connection, trained in self._busy.items():
            if trained == folder:
                with suppress(OSError):  # killed
                    connection.send(STOP)

    def messages(self, seconds: float) -> Iterator[Message]:
        """Yield the messages that arrive within so many seconds."""
        if not self._busy:
            time.sleep(seconds)
        for connection in cast("list[Connection]", wait(list(self._busy), seconds)):
            try:
                message: Message = connection.recv()
            except (EOFError, OSError):  # killed
                folder, process = self._busy.pop(connection), self._forget(connection)
                process.join()
                yield Message("killed", folder, exit_code=process.exitcode or 1)
                continue
            if message.kind == "end":
                del self._busy[connection]
            yield message

    def _begin(self) -> Connection:
        card = min(self._cards, key=list(self._card_of.values()).count) if self._cards else None
        process, connection = children.begin(serve_runs, *self._arguments, card)
        self._all[connection], self._card_of[connection] = process, card
        return connection

    def _forget(self, connection: Connection) -> BaseProcess:
        """The process of a connection that has ended, whose GPU is free for another."""
        del self._card_of[connection]
        return self._all.pop(connection)


def start_server() -> None:
    """Start the fork server, if the system has one, so that it imports PyTorch in the background."""
    children.start_server(_PRELOADED)
