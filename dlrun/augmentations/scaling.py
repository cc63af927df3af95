"""Examples at another scale."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.blocks.draws import uniform
from dlrun.config.options import Fraction


def scaling(inputs: Tensor, generator: torch.Generator, *, spread: Fraction = 0.1) -> Tensor:
    """Multiply each example of the preprocessed inputs (n, …) by a factor of its own.

    Standardised features move away from their means, or nearer, all alike. Raises ValueError for whole
    numbers, such as token ids.

    Args:
        spread: Largest distance of the factor from 1; it is uniform in between.

    Example:
        augmentations: [{name: scaling, spread: 0.2}]
    """
    if not inputs.is_floating_point():
        raise ValueError("they are whole numbers, which cannot be scaled")
    factor = uniform(1 - spread, 1 + spread, len(inputs), generator).to(inputs.dtype)
    return inputs * factor.view(-1, *[1] * (inputs.dim() - 1))
