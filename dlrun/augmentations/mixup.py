"""Mixup: each example is blended with another one of its batch, and so are their classes."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.blocks.blends import betas
from dlrun.config.options import Positive

task = "classification"


def mixup(
    inputs: Tensor, targets: Tensor, generator: torch.Generator, *, alpha: Positive = 0.2
) -> tuple[Tensor, Tensor]:
    """Blend examples in pairs, λ x + (1 - λ) x', and their classes alike.

    Inputs are (n, …), targets shares of classes (n, classes). Each example draws its own λ from a beta
    distribution. Source: Zhang et al. 2018, arXiv 1710.09412. Raises ValueError for whole numbers, such as
    token ids.

    Args:
        alpha: Both parameters of λ's distribution: the larger, the more examples are blended half and half.
    """
    if not inputs.is_floating_point():
        raise ValueError("they are whole numbers, which cannot be blended")
    n = len(inputs)
    other = torch.randperm(n, generator=generator, device=generator.device)
    share = betas(alpha, n, generator)

    def blended(values: Tensor) -> Tensor:
        own = share.view(n, *[1] * (values.dim() - 1)).to(values.dtype)
        return own * values + (1 - own) * values[other]

    return blended(inputs), blended(targets)
