"""Bits per character: the length of a text that is coded by a model of its characters or bytes."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from dlrun.data.examples import Data

task = "classification"
better = "lower"


def bits_per_character(log_probabilities: Tensor, targets: Tensor, data: Data) -> Tensor:
    """Minus the logarithm to base 2 of the probability of the true token, and its number of characters.

    `log_probabilities` (n, tokens), `targets` (n,); gives (n, 2). A token that is a byte counts as a
    character: then they are bits per byte.
    """
    bits = -log_probabilities.gather(1, targets.unsqueeze(1)).squeeze(1) / math.log(2)
    of_tokens = _counts(data.characters, bits.device) if data.characters else None
    characters = torch.ones_like(bits) if of_tokens is None else of_tokens[targets].to(bits)
    return torch.stack([bits, characters], 1)


@cache
def _counts(characters: tuple[int, ...], device: torch.device) -> Tensor:
    """The number of characters of each token (tokens,), on a device."""
    return torch.tensor(characters, device=device)


def finish(means: list[float]) -> float:
    """The bits of all tokens over their characters."""
    return means[0] / means[1] if means[1] else math.inf
