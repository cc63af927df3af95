"""The interface that a display implements to follow a sweep while it trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dlrun.run_folders.sweep_folder import Sweep, Trial


@dataclass
class RunProgress:
    """The progress of one run of a sweep; `figure` is the sweep's metric so far, as a mean over its seeds."""

    trial: Trial
    status: str  # as of the run's summary, or waiting, training, given up
    epoch: int = 0
    epochs: int = 0
    figure: float | None = None
    lines: list[str] = field(default_factory=list)  # of the error that ended it


class SweepView(Protocol):
    """A follower of a sweep: `ended` is called for each run, `refresh` a few times a second.

    At the beginning it is told how many runs train at once, and on how many GPUs.
    """

    def begin(self, sweep: Sweep, progress: Sequence[RunProgress], jobs: int, cards: int) -> None: ...
    def ended(self, progress: RunProgress) -> None: ...
    def warn(self, text: str) -> None: ...
    def refresh(self) -> None: ...
    def end(self) -> None: ...


class HiddenSweep:
    """A view that shows nothing."""

    def begin(self, sweep: Sweep, progress: Sequence[RunProgress], jobs: int, cards: int) -> None: ...
    def ended(self, progress: RunProgress) -> None: ...
    def warn(self, text: str) -> None: ...
    def refresh(self) -> None: ...
    def end(self) -> None: ...
