"""Messages between the process of a sweep and its worker processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

STOP = "stop"  # sent to a worker to stop its run; all else that is sent are folders of runs to train


@dataclass(frozen=True)
class Message:
    """A report of a worker: the progress of a run, or its end with an exit code and the lines of an error."""

    kind: Literal["begin", "row", "end", "killed"]
    folder: Path
    epoch: int = 0
    epochs: int = 0
    figure: float | None = None  # the sweep's metric so far, as a mean over the run's seeds
    rung: int = 0  # the number of tenths of its epochs done, if one has just ended, else 0
    exit_code: int = 0
    lines: list[str] = field(default_factory=list)
