"""The process beside a run that logs it while it trains: it reads the run's files and touches nothing else.

It ends after the run's process: when its standard input is closed, which a kill does too.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from dlrun.config.keys import TrackerName
from dlrun.run_folders.run import Run
from dlrun.tracking.run_content import content_of
from dlrun.tracking.trackers import Tracker, open_tracker, said

LOOK_EVERY = 5.0  # seconds, at least
LOOK_SHARE = 100  # and at least this many times the duration of the last look: under 1 % of a core
END_WITHIN = 60.0  # seconds after the end of the run's process, whatever the tracker does


def main(folder: str, name: TrackerName) -> None:
    """Log a run until standard input is closed; then answer what went wrong, and the tracker's notes."""
    answer = _alone_with_stdout()
    if hasattr(os, "nice"):
        os.nice(19)  # training goes first
    ended = threading.Event()
    threading.Thread(target=_await_end, args=(ended,), daemon=True).start()
    outcome = follow(Run(Path(folder)), name, ended)
    with suppress(OSError):  # nobody may be left to read it
        os.write(answer, json.dumps(outcome).encode())
    os._exit(0)  # a tracker's threads may hang


def follow(run: Run, name: TrackerName, ended: threading.Event) -> tuple[str, list[str]]:
    """Log what is new every few seconds, and all of it at the end.

    Returns what then went wrong, or "", and the tracker's notes. After a failure the run is opened anew in
    the tracker, which knows what it has.
    """
    tracker: Tracker | None = None
    seen, trouble, pause = None, "", 0.0
    while True:
        is_last = ended.wait(pause)
        started = time.monotonic()
        try:
            state = _state(run)
            if state != seen or trouble or is_last:
                content = content_of(run)
                tracker = tracker or open_tracker(name, content)
                tracker.update(content)
                seen, trouble = state, ""
            if is_last and tracker:
                tracker.close()
        except Exception as error:
            if tracker:
                with suppress(Exception):
                    tracker.close()
            tracker, trouble = None, said(error)
        if is_last:
            return trouble, tracker.notes if tracker else []
        pause = max(LOOK_EVERY, LOOK_SHARE * (time.monotonic() - started))


def _state(run: Run) -> list[tuple[int, int]]:
    """The size and the time of the files that a run writes as it goes on."""
    files = [path.stat() for path in (run.metrics, run.folder / "summary.json")]
    return [(file.st_size, file.st_mtime_ns) for file in files]


def _await_end(ended: threading.Event) -> None:
    stdin: BinaryIO = sys.stdin.buffer
    with suppress(OSError):
        stdin.read()
    ended.set()
    time.sleep(END_WITHIN)
    os._exit(1)


def _alone_with_stdout() -> int:
    """Take standard output away from the tracker's package, which may print; return its descriptor."""
    answer = os.dup(1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    return answer
