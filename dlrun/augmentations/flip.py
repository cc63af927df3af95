"""Random horizontal flips."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor


def flip(
    inputs: Tensor, generator: torch.Generator, *, probability: Annotated[float, Ge(0), Le(1)] = 0.5
) -> Tensor:
    """Mirror images (n, channels, height, width) at random, left to right.

    Args:
        probability: Share of the images that are mirrored.
    """
    chosen = torch.rand(len(inputs), generator=generator, device=inputs.device) < probability
    return torch.where(chosen.view(-1, 1, 1, 1), inputs.flip(3), inputs)
