"""A task of which dlrun knows the loss alone."""

from __future__ import annotations

from dlrun.blocks.tasks import LossPart, Task
from dlrun.data.examples import Data


def other(data: Data, loss: LossPart) -> Task:
    """A loss and nothing else: any outputs and targets, without baselines, predictions or pictures."""
    return Task(data, loss)
