"""Gaussian noise on every input."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.config.options import NonNegative


def noise(inputs: Tensor, generator: torch.Generator, *, sd: NonNegative = 0.1) -> Tensor:
    """Add Gaussian noise to each value of the preprocessed inputs (n, …).

    Args:
        sd: Standard deviation of the noise, in the unit of the preprocessed inputs.
    """
    return inputs + sd * torch.randn(
        inputs.shape, generator=generator, device=inputs.device, dtype=inputs.dtype
    )
