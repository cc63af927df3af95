"""Ctrl-C and SIGTERM, noted until the next moment at which nothing is lost by stopping."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

_STOPPING = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """SIGINT and SIGTERM set `received`, which the loop reads; a second one does what it always does.

    A terminal that goes away (SIGHUP) stops nothing.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}
        self._unraisable = sys.unraisablehook

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in _STOPPING:
                self._before[number] = signal.signal(number, self._note)
            self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
            self._unraisable, sys.unraisablehook = sys.unraisablehook, self._heed
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before:
            sys.unraisablehook = self._unraisable

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        for handled in _STOPPING:
            signal.signal(handled, signal.SIG_DFL)

    def _heed(self, unraisable: sys.UnraisableHookArgs) -> None:
        """A second signal that comes while the first is noted: Python finds its handler gone and would only
        write a traceback.
        """
        ignored = re.match(r"Signal (\d+) ignored due to race condition", str(unraisable.exc_value))
        if ignored:
            os.kill(os.getpid(), int(ignored[1]))
        else:
            self._unraisable(unraisable)
