"""Shares by which an augmentation blends two examples."""

from __future__ import annotations

import torch
from torch import Tensor


def betas(alpha: float, n: int, generator: torch.Generator) -> Tensor:
    """Draw n numbers from the beta distribution with both parameters `alpha`, in float32."""
    return dirichlets(alpha, 2, n, generator)[0]


def dirichlets(alpha: float, k: int, n: int, generator: torch.Generator) -> Tensor:
    """Draw n times k shares (k, n) from the Dirichlet distribution with all parameters `alpha`, in float32.

    They are gamma variates over their sum; torch.distributions draws them from no generator of one's own.
    """
    gammas = torch._standard_gamma(torch.full((k, n), alpha, device=generator.device), generator=generator)
    gammas = gammas.clamp_min(torch.finfo(torch.float32).tiny)
    shares: Tensor = gammas / gammas.sum(0)
    return shares
