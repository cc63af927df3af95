"""What a process that trains and the one that gives it its runs say to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

STOP = "stop"  # said to a process that trains, which else is sent the folders of runs


@dataclass(frozen=True)
class Message:
    """What a worker says: a run goes on, or has ended with an exit code and maybe the lines of an error."""

    kind: Literal["begin", "row", "end", "killed"]
    folder: Path
    epoch: int = 0
    epochs: int = 0
    figure: float | None = None  # what the sweep is ranked by, so far: mean over the run's seeds
    rung: int = 0  # how many tenths of its epochs are done, where one has just ended
    exit_code: int = 0
    lines: list[str] = field(default_factory=list)
