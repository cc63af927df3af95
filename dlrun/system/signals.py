"""Signal handlers for Ctrl-C, SIGTERM and a scheduler's signals: they set a flag that train_run checks."""

from __future__ import annotations

import re
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


def _there(*names: str) -> tuple[signal.Signals, ...]:
    """The named signals, without those that this system lacks."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


# SIGUSR1 and SIGUSR2 are what schedulers send before a job's time is over; SIGBREAK is Ctrl-Break.
STOPPING = _there("SIGINT", "SIGTERM", "SIGBREAK", "SIGUSR1", "SIGUSR2")
_GOING_AWAY = _there("SIGHUP")  # sent when the terminal closes; unknown to Windows
OF_A_TERMINAL = (*STOPPING, *_GOING_AWAY)
# PyTorch's launcher passes these on to its processes; by default SIGUSR1 and SIGUSR2 would end it alone.
PASSED_ON = "SIGTERM,SIGINT,SIGUSR1,SIGUSR2"
KILLED = tuple(-int(number) for number in _there("SIGKILL"))  # exit codes of a process that was killed


def end_at_ctrl_c() -> None:
    """Let Ctrl-C end this process at once, without a traceback, until StopSignals handles it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def at_stop_request(note: Callable[[], None]) -> None:
    """Call `note` at SIGTERM; StopSignals replaces it while a run trains."""
    signal.signal(signal.SIGTERM, lambda *_: note())


def request_stop() -> None:
    """Send SIGTERM to this process: a run that trains stops, one that is already stopping ends at once."""
    signal.raise_signal(signal.SIGTERM)


def is_stop_requested() -> bool:
    """True from the first stop signal that StopSignals has received until it is left."""
    return signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


class StopSignals:
    """Signal handlers while a run trains: the first signal of STOPPING only sets `received`.

    train_run reads it and stops the run. From then on the handlers are the default ones, so a second signal
    acts at once. SIGHUP, sent when the terminal closes, is ignored.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}
        self._unraisable = sys.unraisablehook

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                self._before[number] = signal.signal(number, self._note)
            for number in _GOING_AWAY:
                self._before[number] = signal.signal(number, signal.SIG_IGN)
            self._unraisable, sys.unraisablehook = sys.unraisablehook, self._heed
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before:
            sys.unraisablehook = self._unraisable

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        for handled in STOPPING:
            signal.signal(handled, signal.SIG_DFL)

    def _heed(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Raise a second signal again that arrived while the first one was handled.

        Python finds its handler replaced, ignores the signal and would only print a traceback.
        """
        ignored = re.match(r"Signal (\d+) ignored due to race condition", str(unraisable.exc_value))
        if ignored:
            signal.raise_signal(signal.Signals(int(ignored[1])))
        else:
            self._unraisable(unraisable)
