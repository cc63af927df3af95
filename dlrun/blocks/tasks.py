"""The interface of a task: the meaning of outputs for losses, metrics, baselines, reports, predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from dlrun.blocks.decisions import Decision
from dlrun.data.examples import Data


@dataclass(frozen=True)
class LossPart:
    """A loss with its options, and what its file states about the outputs that it takes."""

    name: str
    measure: Callable[[Tensor, Tensor], Tensor]  # outputs, targets -> (n,)
    outputs: Callable[[Data], int] | None = None  # the number of outputs that it needs
    probabilities: Callable[[Tensor], Tensor] | None = None  # (…, k) -> (…, classes)
    constant: Callable[[Tensor], Tensor] | None = None  # shares (classes,) -> outputs (k,)
    make: Callable[[nn.Module], nn.Module] | None = None  # joins a model and a loss with weights of its own
    is_batchwise: bool = False  # it judges a batch as a whole, so that its figure depends on the batch size


class Report(Protocol):
    """The part of an evaluation that a task adds to loss and metrics, accumulated batch by batch."""

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch: outputs and targets (copies, batch, …)."""
        ...

    def figures(self) -> dict[str, list[float]]:
        """Further figures, one for each copy."""
        ...

    def sections(self, seeds: list[int]) -> dict[str, Any]:
        """Further sections of the report, as values that JSON can hold."""
        ...


class Task(Protocol):
    """The meaning of a model's outputs. A file of `dlrun/task/` makes one for a dataset and a loss.

    `outputs` is the number of outputs that the loss needs. `decision` predicts a class, None in a task
    without classes. `are_estimates` is True if outputs estimate the targets, so that the difference of both
    is an error. `metrics` and `plots` are those that `dlrun eval` adds to the config's.
    """

    outputs: int
    decision: Decision | None
    are_estimates: bool
    metrics: tuple[str, ...]
    plots: tuple[str, ...]

    def targets(self, n: int) -> Tensor:
        """Targets (n, …) that examples of this task could have, to try parts on."""
        ...

    def misfit(self, targets: Tensor) -> str:
        """The mistake in the targets (n, …) of a split, with the remedy; "" if there is none."""
        ...

    def guesses(self, training: Tensor, n: int, aside: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs (n, k) of guesses without a model for n examples, by name.

        `training` (m, …) are the targets of the training split, `aside` the further columns (n,) of the
        examples. Raises UserError with the reason if the loss leaves open which outputs would be a guess.
        """
        ...

    def report(self, copies: int) -> Report:
        """An empty report for so many copies."""
        ...

    def row(self, outputs: Tensor) -> dict[str, Any]:
        """The prediction for one input, from the outputs (copies, k): a row of `dlrun predict`."""
        ...

    def facts(self, targets: Tensor) -> dict[str, Any]:
        """The summary of the targets (n, …) of a split that `dlrun data` prints."""
        ...

    def warnings(self, training: Tensor) -> Iterator[str]:
        """Yield warnings about the targets of the training split."""
        ...
