"""The coverage of predicted quantiles: how many targets lie below each, and between two of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from dlrun.blocks.tasks import Report
from dlrun.data.example_weights import wide
from dlrun.data.misfits import said_kind
from dlrun.data.trees import Tree, single
from dlrun.errors import UserError, shortened

_BY_CHANCE = 0.0027  # that a report whose promises hold is marked; 3 standard errors of a single share


def refuse_other_quantiles(name: str, found: object, shape: tuple[int, ...]) -> None:
    """Raise UserError unless a loss has given quantiles of a shape by levels between 0 and 1."""
    said, fix = f"quantiles() of {name} gives", "return a dict such as {0.1: low, 0.9: high}"
    if not isinstance(found, Mapping) or not found:
        raise UserError(f"{said} {said_kind(found)}, no quantiles by their levels", fix=fix)
    for level, quantile in found.items():
        if not isinstance(level, int | float) or not 0 < level < 1:
            what = f"{said} the level {shortened(repr(level))}, but levels are above 0 and below 1"
            raise UserError(what, fix=fix)
        if not isinstance(quantile, Tensor) or quantile.shape != shape:
            is_tensor = isinstance(quantile, Tensor)
            given = f"shape {tuple(quantile.shape)}" if is_tensor else said_kind(quantile)
            what = f"{said} {given} for the level {level}, but the targets have shape {shape}"
            raise UserError(what, fix="give a number for each target")


class Coverage(Report):
    """The shares of targets below their predicted quantiles, and between two as far from the middle.

    They are means over seeds, and each example counts as often as its weight says.
    """

    def __init__(self, names: Sequence[str], quantiles: Callable[[Tree], Mapping[float, Tensor]]) -> None:
        self.names, self._quantiles = names, quantiles
        self.levels: list[float] = []
        self._below: dict[float, Tensor | float] = {}
        self._inside: dict[tuple[float, float], Tensor | float] = {}
        self._widths: dict[tuple[float, float], Tensor | float] = {}
        self._weight = self._squares = 0.0

    def add(self, outputs: Tree, targets: Tree, weights: Tensor | None = None) -> None:
        found, truth = self._quantiles(outputs), single(targets)
        self.levels = sorted(found)
        each = wide(torch.ones_like(truth[0, :, 0]) if weights is None else weights[0])

        def total(figures: Tensor) -> Tensor:
            """The weighted sum (d,) over examples of a mean over copies."""
            return (wide(figures).mean(0) * each.unsqueeze(1)).sum(0).cpu()

        for level, quantile in found.items():
            self._below[level] = self._below.get(level, 0.0) + total(truth <= quantile)
        for pair in self._pairs():
            low, high = (found[level] for level in pair)
            inside = (truth >= low) & (truth <= high)
            self._inside[pair] = self._inside.get(pair, 0.0) + total(inside)
            self._widths[pair] = self._widths.get(pair, 0.0) + total((high - low).clamp_min(0))
        self._weight += float(each.sum())
        self._squares += float(each.square().sum())

    def _pairs(self) -> list[tuple[float, float]]:
        """The lowest level and the highest, and so on to the middle."""
        half = len(self.levels) // 2
        return list(zip(self.levels[:half], reversed(self.levels[-half:]), strict=True)) if half else []

    def sections(self, seeds: list[int]) -> dict[str, Any]:
        """The shares beside what the levels promise, and the mean width in the target's unit."""
        below = {level: self._shares(own) for level, own in self._below.items()}
        inside = {pair: self._shares(own) for pair, own in self._inside.items()}
        widths = {pair: self._shares(own) for pair, own in self._widths.items()}
        return {
            "intervals": {
                name: {
                    "between": [
                        {
                            "levels": [low, high],
                            "promised": high - low,
                            "covered": inside[low, high][place],
                            "mean_width": widths[low, high][place],
                        }
                        for low, high in inside
                    ],
                    "below": [{"level": level, "share": below[level][place]} for level in self.levels],
                }
                for place, name in enumerate(self.names)
            }
        }

    def _shares(self, total: Tensor | float) -> list[float]:
        shares: list[float] = (torch.as_tensor(total) / self._weight).tolist()
        return shares

    def warnings(self) -> list[str]:
        """The share that misses its promise by the most standard errors, where chance does not explain it.

        The more shares there are, the further one has to be (Bonferroni's correction): if all hold, a warning
        appears for fewer than 3 in 1,000 such reports.
        """
        missed = sorted(self._missed(), reverse=True)
        if not missed:
            return []
        others = len(missed) - 1
        further = f"; so {'do' if others > 1 else 'does'} {others:,} of the other shares" if others else ""
        return [f"{missed[0][1]}{further}"]

    def _missed(self) -> Iterator[tuple[float, str]]:
        """Yield the standard errors by which a share misses its promise, and a line that says so."""
        shares = [
            (f"between the quantiles {low:.3g} and {high:.3g}", high - low, total)
            for (low, high), total in self._inside.items()
        ]
        shares += [(f"below the quantile {level:.3g}", level, total) for level, total in self._below.items()]
        most = -NormalDist().inv_cdf(_BY_CHANCE / 2 / max(1, len(shares) * len(self.names)))
        for place, promised, total in shares:
            error = math.sqrt(promised * (1 - promised) * self._squares) / self._weight
            for name, share in zip(self.names, self._shares(total), strict=True):
                if abs(share - promised) > most * error:
                    said = (
                        f"{100 * share:.1f} % of the targets ({name}) lie {place}, not {100 * promised:.1f} %"
                    )
                    by = f"{most:.1f} standard errors of {100 * error:.1f} points"
                    yield abs(share - promised) / error, f"{said}: they miss it by more than {by}"
