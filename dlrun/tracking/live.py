"""Trackers that follow a run while it trains, each in a process of its own that the run never waits for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from dlrun.config.keys import TrackerName
from dlrun.run_folders.run import Run
from dlrun.system.processes import quoted
from dlrun.tracking.trackers import TITLES

END_WITHIN = 30.0  # seconds for which the end of a run waits until its trackers have the rest
_FOLLOW = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from dlrun.tracking.follower import main; main(*sys.argv[2:])"
)


@contextmanager
def logged_live(names: Sequence[TrackerName], run: Run, warn: Callable[[str], None]) -> Iterator[None]:
    """Have trackers follow the run in this context; at its end `warn` of those that do not have all of it."""
    followers = [Follower(name, run) for name in names]
    try:
        yield
    finally:
        for each in followers:
            each.tell_end()
        deadline = time.monotonic() + END_WITHIN
        for each in followers:
            trouble, notes = each.ended(deadline)
            for note in notes:
                warn(note)
            if trouble:
                later = quoted(["dlrun", "log", str(run.folder), "--to", each.name])
                warn(f"{TITLES[each.name]} does not have all of this run: {trouble}; log it by {later}")


class Follower:
    """The process that logs a run to one tracker. Nothing that becomes of it is raised."""

    def __init__(self, name: TrackerName, run: Run) -> None:
        self.name, self._trouble = name, ""
        words = [json.dumps([*map(str, sys.path)]), str(run.folder.absolute()), name]
        try:
            self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                [sys.executable, "-P", "-c", _FOLLOW, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                **_apart(),
            )
        except OSError as error:
            self._process, self._trouble = None, f"its process cannot be started: {error.strerror}"

    def tell_end(self) -> None:
        """Close its standard input, which tells it that the run is over."""
        if self._process and self._process.stdin:
            with suppress(OSError):
                self._process.stdin.close()

    def ended(self, deadline: float) -> tuple[str, list[str]]:
        """Wait for its end until a time of time.monotonic(); return what went wrong, or "", and its notes.

        One that takes longer is killed, with the processes that it has started.
        """
        if self._process is None:
            return self._trouble, []
        self._process.stdin = None  # which is closed
        try:
            answer, _ = self._process.communicate(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._kill()
            return f"it was not done {END_WITHIN:g} seconds after the end", []
        try:
            trouble, notes = json.loads(answer)
        except ValueError:
            return f"its process ended with code {self._process.returncode}", []
        return trouble, notes

    def _kill(self) -> None:
        assert self._process is not None
        with suppress(OSError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _apart() -> dict[str, Any]:
    """Let a process keep out of the way: Ctrl-C of the terminal does not reach it.

    It stays in the session, for Linux shares out the cores among sessions first and heeds priorities within.
    """
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.IDLE_PRIORITY_CLASS}
    return {"process_group": 0}
