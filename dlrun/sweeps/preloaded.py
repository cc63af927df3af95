"""Modules that the fork server imports once for all workers; nothing else imports this module."""

from __future__ import annotations

import sys
from contextlib import suppress
from types import TracebackType

# If the memory does not suffice, each worker imports again and reports the error.
with suppress(MemoryError, OSError, ImportError):
    import dlrun.plots.curves
    import dlrun.training.experiment
    import dlrun.training.plan_making  # noqa: F401


def _say_nothing(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print no traceback: the command itself reports that the fork server could not start a worker."""


sys.excepthook = _say_nothing
