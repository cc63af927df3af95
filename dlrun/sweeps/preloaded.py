"""What all workers need, imported once by the server that they are forked from; nothing else imports this."""

from __future__ import annotations

import sys
from contextlib import suppress
from types import TracebackType

# What there is no memory for is tried again by each worker, and said by it.
with suppress(MemoryError, OSError, ImportError):
    import dlrun.plots.curves
    import dlrun.training.experiment
    import dlrun.training.plan  # noqa: F401


def _say_nothing(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The command says by itself that the server could begin no worker, in lines and without a traceback."""


sys.excepthook = _say_nothing
