"""Shares by which an augmentation blends two examples."""

from __future__ import annotations

import torch
from torch import Tensor


def betas(alpha: float, n: int, generator: torch.Generator) -> Tensor:
    """Draw n numbers from the beta distribution with both parameters `alpha`, in float32.

    Two gamma variates give one; torch.distributions draws them from no generator of one's own.
    """
    gammas = torch._standard_gamma(torch.full((2, n), alpha, device=generator.device), generator=generator)
    a, b = gammas.clamp_min(torch.finfo(torch.float32).tiny).unbind()
    shares: Tensor = a / (a + b)
    return shares
