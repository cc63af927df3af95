"""Bits per character: the length of a text that is coded by a model of its characters or bytes."""

from __future__ import annotations

import math

from torch import Tensor

task = "classification"
better = "lower"


def bits_per_character(log_probabilities: Tensor, targets: Tensor) -> Tensor:
    """Minus the logarithm to base 2 of the probability of the true token.

    `log_probabilities` (n, tokens), `targets` (n,); gives (n,). A token has to be one character, or one byte:
    then they are bits per byte.
    """
    return -log_probabilities.gather(1, targets.unsqueeze(1)).squeeze(1) / math.log(2)
