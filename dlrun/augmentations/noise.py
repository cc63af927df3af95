"""Normal noise on every input."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.config.options import NonNegative


def noise(inputs: Tensor, generator: torch.Generator, *, sd: NonNegative = 0.1) -> Tensor:
    """The preprocessed inputs (n, …) with normal noise of standard deviation `sd` added to each value."""
    return inputs + sd * torch.randn(
        inputs.shape, generator=generator, device=inputs.device, dtype=inputs.dtype
    )
