"""Regression: one or several numbers for each example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

from dlrun.blocks.ranges import Ranges
from dlrun.blocks.tasks import LossPart
from dlrun.data.examples import Data
from dlrun.data.misfits import wrong_numbers, wrong_shape
from dlrun.errors import UserError

_TRIED = 64  # made-up targets, from 0 to 1, on which the loss is tried
_DISTANCES = (0.01, 0.1, 1.0)  # of outputs from these targets


def regression(data: Data, loss: LossPart) -> Regression:
    """Numbers for each example; targets are (n, d) in their own unit."""
    return Regression(data, loss)


class Regression:
    """The outputs (n, k) are what the loss compares with the targets (n, d): by default estimates of them."""

    decision = None
    metrics: tuple[str, ...] = ()
    plots: tuple[str, ...] = ()

    def __init__(self, data: Data, loss: LossPart) -> None:
        self._data, self._loss = data, loss
        self.outputs = loss.outputs(data) if loss.outputs else data.targets

    def targets(self, n: int) -> Tensor:
        return torch.zeros(n, self._data.targets)

    def misfit(self, targets: Tensor) -> str:
        d = self._data.targets
        return wrong_numbers(targets) or wrong_shape(targets, (d,), f"Data states targets={d}: (n, {d})")

    def guesses(self, training: Tensor, n: int, aside: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The mean target of the training split, and the columns that the dataset names as baselines."""
        if not self.are_estimates:
            what = f"{self._loss.name} is not smallest where outputs are equal to the targets"
            raise UserError(f"{what}, so that they are no estimates of them")
        if not bool((training != training[:1]).any()):
            raise UserError("all training targets are the same")
        found = {"mean": training.mean(0).expand(n, -1)}
        return found | {name: aside[name].to(training).unsqueeze(1) for name in self._data.baselines}

    @cached_property
    def are_estimates(self) -> bool:
        """True if the loss is smallest where the outputs are equal to the targets.

        Of a loss that takes other outputs, such as the logit of a probability, it is not.
        """
        if self.outputs != self._data.targets:
            return False
        targets = torch.rand(_TRIED, self.outputs, generator=torch.Generator().manual_seed(0))
        try:
            smallest = self._loss.measure(targets, targets)
            room = 1e-6 * (1 + smallest.abs())
            return all(
                bool((self._loss.measure(targets + away, targets) >= smallest - room).all())
                for distance in _DISTANCES
                for away in (distance, -distance)
            )
        except (RuntimeError, IndexError, TypeError, ValueError, ArithmeticError):
            return False

    def report(self, copies: int) -> NothingMore:
        return NothingMore()

    def row(self, outputs: Tensor) -> dict[str, Any]:
        """Each target's prediction by its name; of several copies the mean, and of one target the `sd`."""
        figures = outputs.T.tolist()  # (k, copies)
        target = (self._data.target or "prediction") if self.are_estimates else "output"
        numbered = [f"{target} {number}" for number in range(1, len(figures) + 1)]
        names = [target] if len(figures) == 1 else numbered
        row: dict[str, Any] = dict(zip(names, map(fmean, figures), strict=True))
        if len(figures) == 1 and len(figures[0]) > 1:
            row["sd"] = stdev(figures[0])
        return row

    def facts(self, targets: Tensor) -> dict[str, Any]:
        ranges = Ranges()
        ranges.add(targets)
        return {"target": ranges.whole()}

    def warnings(self, training: Tensor) -> Iterator[str]:
        yield from ()


class NothingMore:
    """A report that adds nothing to the loss and the metrics."""

    def add(self, outputs: Tensor, targets: Tensor) -> None: ...

    def figures(self) -> dict[str, list[float]]:
        return {}

    def sections(self, seeds: list[int]) -> dict[str, Any]:
        return {}
