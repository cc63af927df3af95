"""The Gaussian likelihood, of which a model gives the mean and the standard deviation."""

from __future__ import annotations

from math import log, pi
from statistics import NormalDist

import torch.nn.functional as F
from torch import Tensor

from dlrun.blocks.tasks import SPREAD
from dlrun.data.examples import Data
from dlrun.data.trees import MAIN

task = "regression"
of_estimates = True

_LEAST = 1e-3  # deviation, in those of the target: a smaller one makes single examples decide


def gaussian_nll(outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
    """Minus the logarithm of the normal density at a target y: log s + ((y - m) / s)² / 2 + log(2π) / 2.

    The model gives two outputs for each target: the mean m, its estimate, and the standard deviation s of
    what it cannot tell, which `dlrun predict` shows as deviation; both (n, d) like the targets. Gives (n,),
    in nats, the mean over d, of targets as the dataset scales them; below 0 where the density is above 1.
    Source: Nix and Weigend 1994, doi 10.1109/ICNN.1994.374138; Lakshminarayanan et al. 2017, arXiv
    1612.01474.
    """
    mean, deviation = outputs[MAIN], outputs[SPREAD]
    errors = (targets - mean) / deviation
    return (deviation.log() + errors.square() / 2 + log(2 * pi) / 2).mean(1)


def outputs(data: Data) -> int:
    """The number of outputs: two for each target."""
    return 2 * data.targets


def guess(errors: Tensor) -> dict[str, Tensor]:
    """The mean and the standard deviation of the errors (n, d) of a guess."""
    return {MAIN: errors.mean(0), SPREAD: errors.std(0, correction=0)}


def head(outputs: Tensor) -> dict[str, Tensor]:
    """The means and the standard deviations of outputs (n, 2 · d)."""
    mean, spread = outputs.chunk(2, -1)
    return {MAIN: mean, SPREAD: F.softplus(spread) + _LEAST}


def quantiles(outputs: dict[str, Tensor]) -> dict[float, Tensor]:
    """The quantiles (…, d) one and two deviations below and above the mean, by their levels."""
    normal, (mean, deviation) = NormalDist(), (outputs[MAIN], outputs[SPREAD])
    return {normal.cdf(away): mean + away * deviation for away in (-2, -1, 1, 2)}
