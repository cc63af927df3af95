"""Gaussian noise on every input."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.config.options import NonNegative


def noise(inputs: Tensor, generator: torch.Generator, *, sd: NonNegative = 0.1) -> Tensor:
    """Add Gaussian noise of standard deviation `sd` to each value of the preprocessed inputs (n, …)."""
    return inputs + sd * torch.randn(
        inputs.shape, generator=generator, device=inputs.device, dtype=inputs.dtype
    )
