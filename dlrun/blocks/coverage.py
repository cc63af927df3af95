"""The coverage of predicted quantiles: how many targets lie below each, and between two of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dlrun.blocks.tasks import Report
from dlrun.data.example_weights import wide
from dlrun.data.trees import Tree, single

_BY_CHANCE = 3.0  # standard errors by which a share may miss its promise


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
        """The share that misses its promise by the most standard errors, where chance does not explain it."""
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
        for place, promised, total in shares:
            error = math.sqrt(promised * (1 - promised) * self._squares) / self._weight
            for name, share in zip(self.names, self._shares(total), strict=True):
                if abs(share - promised) > _BY_CHANCE * error:
                    said = (
                        f"{100 * share:.1f} % of the targets ({name}) lie {place}, not {100 * promised:.1f} %"
                    )
                    by = f"{_BY_CHANCE:.0f} standard errors of {100 * error:.1f} points"
                    yield abs(share - promised) / error, f"{said}: they miss it by more than {by}"
