"""The side of a node of a Ray cluster: a look around, and the process that trains runs there."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from dlrun.sweeps.messages import STOP, Message
from dlrun.sweeps.worker_process import serve_runs
from dlrun.sweeps.workers import start_server
from dlrun.system import children
from dlrun.system.environment import prepare_drawing
from dlrun.system.locks import is_in_use
from dlrun.system.machine import CARDS
from dlrun.system.switches import FAST_PATHS

# They decide how fast a run is, and the last one its bits. Ray sets the first itself.
SAME_EVERYWHERE = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", FAST_PATHS)
WAIT = 5.0  # seconds for which a node waits before it answers that nothing has happened
TOGETHER = 0.2  # seconds in which rows are gathered: each answer costs the processors some milliseconds


@dataclass(frozen=True)
class Sight:
    """The state of a node: what it sees of the sweep, and what it would train with."""

    has_token: bool
    is_locked: bool  # it sees that the command holds the lock of the sweep's folder
    missing: list[Path]
    dlrun: str
    dlrun_code: str
    code: str  # with that of the user's parts
    versions: dict[str, str]


def look_around(token: Path, parts: Path | None, wanted: Sequence[Path]) -> Sight:
    """Look for a file in the locked folder of the sweep, and for other files and folders."""
    from importlib.metadata import version

    from dlrun import __version__
    from dlrun.config.registry import Parts

    own = Parts().code
    missing = [path for path in wanted if not path.exists()]
    return Sight(
        token.exists(),
        is_in_use(token.parent),
        missing,
        __version__,
        own,
        own if missing else Parts(parts).code,
        {"torch": version("torch"), "Python": platform.python_version()},
    )


class NodeWorker:
    """A Ray actor with a worker process of its own, to which it passes runs, and from which messages.

    The process is one that Ray does not know: it has no threads of Ray, and when the actor ends, however
    that happens, it saves its run and exits. The command has begun it, if its `address` is given.
    """

    def __init__(
        self, address: str | None, environment: Mapping[str, str], has_gpu: bool, *arguments: Any
    ) -> None:
        for name in SAME_EVERYWHERE:
            os.environ.pop(name, None)
        os.environ.update(environment)
        if not has_gpu:  # Ray hides those of others only from actors that ask for one
            os.environ[CARDS] = ""
        self._folder = Path()
        self._process: BaseProcess | None = None
        if address is not None:
            self._connection = children.connected(address)
            self._connection.send(os.environ.get(CARDS))
            return
        prepare_drawing()
        start_server()
        self._process, self._connection = children.begin(serve_runs, *arguments, None)
        children.remove_socket()

    def ready(self) -> None:
        """Answer, which takes until the process has begun."""

    def train(self, folder: Path) -> list[Message]:
        """Have the process train the remaining epochs of a run; return its first messages."""
        self._folder = folder
        with suppress(OSError):  # it was killed, which `messages` tells
            self._connection.send(folder)
        return self.messages()

    def messages(self) -> list[Message]:
        """The next messages: rows are gathered for TOGETHER, any other one is returned at once.

        Empty if none comes within WAIT.
        """
        found = list[Message]()
        try:
            until = time.monotonic() + WAIT
            while self._connection.poll(max(0, until - time.monotonic())):
                found.append(self._connection.recv())
                if found[-1].kind != "row":
                    break
                if len(found) == 1:
                    until = time.monotonic() + TOGETHER
        except (EOFError, OSError):
            found.append(Message("killed", self._folder, exit_code=self._exit_code() or 1))
        return found

    def stop(self) -> None:
        """Have the process save a checkpoint and stop the run."""
        with suppress(OSError):
            self._connection.send(STOP)

    def close(self) -> None:
        """End the process, after it has saved its run, if it trains one."""
        self._connection.close()
        self._exit_code()

    def _exit_code(self) -> int | None:
        """Wait for the end of the process, unless the command does; its exit code."""
        if self._process is None:
            return None
        self._process.join()
        return self._process.exitcode
