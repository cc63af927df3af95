"""A learning rate suggested by the losses of a range test, and the reasons not to trust it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log10
from statistics import fmean, median
from typing import Any

import torch
from torch import Tensor

from dlrun.training.rate_range import BEGINNING, RateCurve, RateRange, highest

RULE = "the rate at which the smoothed loss falls most steeply over the logarithm of the rate"
SMOOTHING = 0.25  # decades: standard deviation of the Gaussian window over the logarithms of rates
_EDGE = 2 * SMOOTHING  # decades at each end of a range, where the window has few rates on one side
_APART = 10.0  # factor between the rates of two seeds that say different things
_LEAST_FALL = 0.01  # of the loss before training
_FALL_OVER_NOISE = 2.0


@dataclass(frozen=True)
class SeedRate:
    """The rate that the losses of one seed suggest."""

    curve: RateCurve

    @cached_property
    def smoothed(self) -> list[float]:
        """The loss of each step, averaged over the rates around it; those that have risen count as risen.

        The window has two sides, so that the curve is not shifted to larger rates as by a running mean.
        """
        losses = torch.tensor(self.curve.losses, dtype=torch.float64).clamp_max(highest(self.curve.losses))
        places = self._places
        window = torch.exp(-0.5 * ((places[:, None] - places) / SMOOTHING) ** 2)
        return [float(loss) for loss in window @ losses / window.sum(1)]

    @property
    def _places(self) -> Tensor:
        return torch.tensor(self.curve.rates, dtype=torch.float64).log10()

    @property
    def lowest(self) -> int:
        """The step of the lowest smoothed loss."""
        return min(range(len(self.smoothed)), key=self.smoothed.__getitem__)

    @property
    def rate(self) -> float:
        """The rate of the steepest descent, before the lowest loss."""
        [slopes] = torch.gradient(torch.tensor(self.smoothed, dtype=torch.float64), spacing=(self._places,))
        return self.curve.rates[int(slopes[: self.lowest + 1].argmin())]

    def doubts(self, tested: RateRange) -> Iterator[str]:
        """Yield what is wrong with the rate of this seed, with the remedy."""
        begun, low = self.curve.begun_at, self.smoothed[self.lowest]
        before = range(max(self.lowest, BEGINNING))
        scatter = [self.curve.losses[step] - self.smoothed[step] for step in before]
        noise = fmean(each**2 for each in scatter) ** 0.5
        if begun - low <= max(_FALL_OVER_NOISE * noise, _LEAST_FALL * abs(begun)):
            scatters = f", and single batches scatter by {noise:.3g}" if noise else ""
            yield f"the loss hardly falls: from {begun:.4g} to {low:.4g}{scatters}"
            return
        if self.curve.end == "complete" and decades(self.curve.rates[self.lowest], tested.high) < _EDGE:
            yield f"the loss is lowest at the largest rates: raise --to, such as to {10 * tested.high:g}"
        if self.curve.end != "complete" and decades(self.rate, self.curve.rates[-1]) < _EDGE:
            yield "the loss explodes at the next rates: take more --steps, or a tenth of this rate"
        if decades(tested.low, self.rate) < _EDGE:
            yield f"the loss falls from the smallest rate on: lower --from, such as to {tested.low / 100:g}"

    def plain(self) -> dict[str, Any]:
        """The entry of a seed in the JSON of `dlrun lr`."""
        curve = self.curve
        return {
            "seed": curve.seed,
            "end": curve.end,
            "rate": self.rate,
            "lowest_at": curve.rates[self.lowest],
            "loss_before": curve.begun_at,
            "lowest_loss": self.smoothed[self.lowest],
            "rates": curve.rates,
            "losses": curve.losses,
            "smoothed": self.smoothed,
        }


@dataclass(frozen=True)
class Suggestion:
    """One rate for all seeds of a range test."""

    tested: RateRange
    each: Sequence[SeedRate]
    takes_closure: bool  # of the optimizer, which computes the loss of a batch several times in a step

    @property
    def rates(self) -> list[float]:
        """The rate of each seed."""
        return [seed.rate for seed in self.each]

    @property
    def rate(self) -> float:
        """The middle one of the seeds' rates, to two digits: more would tell apart what is noise."""
        return float(f"{10 ** median(map(log10, self.rates)):.2g}")

    @cached_property
    def doubts(self) -> list[str]:
        """The reasons not to trust the rate, with the seeds that they are of; none if it can be trusted."""
        of_seeds = dict[str, list[int]]()
        for seed in self.each:
            for doubt in seed.doubts(self.tested):
                of_seeds.setdefault(doubt, []).append(seed.curve.seed)
        several = len(self.each) > 1
        found = [
            f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}: {doubt}" if several else doubt
            for doubt, seeds in of_seeds.items()
        ]
        if max(self.rates) > _APART * min(self.rates):
            found.append("the rates of the seeds are more than a factor of ten apart: take more --steps")
        if self.takes_closure:
            found.append("a step of the optimizer is several iterations, which may search their own length")
        return found

    def plain(self) -> dict[str, Any]:
        """The figures of `dlrun lr` as JSON has them."""
        return {
            "rate": self.rate,
            "rates": {str(seed.curve.seed): seed.rate for seed in self.each},
            "is_trusted": not self.doubts,
            "doubts": self.doubts,
            "rule": RULE,
            "from": self.tested.low,
            "to": self.tested.high,
            "steps": self.tested.steps,
            "seeds": [seed.plain() for seed in self.each],
        }


def decades(low: float, high: float) -> float:
    """The factors of ten between two rates."""
    return log10(high / low)
