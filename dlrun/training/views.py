"""The interface that a display or a tracker implements to follow a run while it trains."""

from __future__ import annotations

from typing import Protocol

from dlrun.run_folders.run import Run
from dlrun.training.plan import Plan
from dlrun.training.recipe import Row
from dlrun.training.state import State


class TrainingView(Protocol):
    """A follower of one run. Its methods are called between two steps, so each must be cheap.

    An exception in one of them ends the run as failed; what was saved stays.
    """

    def begin(self, plan: Plan, run: Run, state: State, steps: int) -> None:
        """Called once before the first step; `steps` are those of an epoch."""
        ...

    def tick(self, examples: int) -> None:
        """Called after each step, with the number of examples in its batch."""
        ...

    def row(self, epoch: int, row: Row, best: bool) -> None:
        """Called after each epoch with the figures of the seeds that have not stopped early.

        `best` is True if no epoch before was better for one of them.
        """
        ...

    def warn(self, text: str) -> None:
        """Called with each warning, which is in the run's log too."""
        ...

    def end(self) -> None:
        """Called once after the last step, before the figures of the best epoch are complete."""
        ...


class HiddenTraining:
    """A view that shows nothing."""

    def begin(self, plan: Plan, run: Run, state: State, steps: int) -> None: ...
    def tick(self, examples: int) -> None: ...
    def row(self, epoch: int, row: Row, best: bool) -> None: ...
    def warn(self, text: str) -> None: ...
    def end(self) -> None: ...
