"""The expected calibration error."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.config.options import Count

task = "classification"
better = "lower"
beside_guesses = False  # the shares of the classes are calibrated, and say nothing of an example


def ece(probabilities: Tensor, targets: Tensor, *, bins: Count = 15) -> Tensor:
    """The distance of accuracy and confidence in bins of equal width, averaged by their examples.

    `probabilities` (n, classes), `targets` (n,). Gives for each bin the examples in it, their confidence (the
    largest probability) and those that are right, (n, 3 · bins). Source: Guo et al. 2017, arXiv 1706.04599.

    Args:
        bins: Bins of confidence between 0 and 1.
    """
    confidence, predicted = probabilities.max(1)
    place = (confidence * bins).long().clamp(0, bins - 1)
    of_bin = (place.unsqueeze(1) == torch.arange(bins, device=place.device)).to(probabilities.dtype)
    right = (predicted == targets).to(probabilities.dtype).unsqueeze(1)
    return torch.cat([of_bin, of_bin * confidence.unsqueeze(1), of_bin * right], 1)


def finish(means: list[float]) -> float:
    """Σ |confidence - right| over the bins, of the shares of all examples; nan if there are none."""
    k = len(means) // 3
    distances = (abs(own - right) for own, right in zip(means[k : 2 * k], means[2 * k :], strict=True))
    return sum(distances) if sum(means[:k]) else float("nan")
