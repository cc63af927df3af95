"""The teacher of a loss: the model of another run, whose outputs for the same inputs it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from dlrun.data.trees import Tree


@dataclass(frozen=True)
class Taught:
    """An opened teacher: `outputs` gives the log-probabilities (teachers, n, classes) for inputs (n, …).

    Each seed of its run is a teacher. `digest` is the SHA-256 of its checkpoint, which has the `fingerprint`
    of its data and the keys of what it was trained on, if they have keys.
    """

    outputs: Callable[[Tree], Tensor]
    digest: str
    fingerprint: object
    trained_on: Tensor | None


class Teacher:
    """The model of the run or checkpoint `source`, opened when it is first asked.

    What needs no loss, such as a prediction, does without it.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._open: Callable[[], Taught] | None = None
        self._opened: Taught | None = None

    def opens_by(self, function: Callable[[], Taught]) -> None:
        """Let it be opened by a function, unless it has been opened already."""
        self._open = function

    @property
    def can_be_asked(self) -> bool:
        """True if there is something to open it by."""
        return self._open is not None

    def opened(self) -> Taught:
        """The model, read from its file the first time. Raises UserError if it does not fit."""
        if self._opened is None:
            assert self._open is not None, "a teacher has nothing to be opened by before there are data"
            self._opened = self._open()
        return self._opened

    def __call__(self, inputs: Tree) -> Tensor:
        """The log-probabilities (teachers, n, classes) for prepared inputs (n, …)."""
        return self.opened().outputs(inputs)
