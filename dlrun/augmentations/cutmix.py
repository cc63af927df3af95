"""CutMix: a rectangle of each image comes from another image of its batch, with a share of its class."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.blocks.blends import betas
from dlrun.config.options import Positive

task = "classification"
inputs = "images"


def cutmix(
    inputs: Tensor, targets: Tensor, generator: torch.Generator, *, alpha: Positive = 1.0
) -> tuple[Tensor, Tensor]:
    """Paste a rectangle of another image into each image (n, channels, height, width).

    Its sides are √(1 - λ) of the image's, with λ from a beta distribution; it is cut at the edges. The
    classes (n, classes) are blended by the share of pixels that are pasted. Each image draws its own. Source:
    Yun et al. 2019, arXiv 1905.04899.

    Args:
        alpha: Both parameters of λ's distribution: 1 draws all shares alike, less draws more of nearly
            nothing or all.
    """
    n, _, height, width = inputs.shape
    device = generator.device
    other = torch.randperm(n, generator=generator, device=device)
    part = (1 - betas(alpha, n, generator)).sqrt().unsqueeze(1)
    pasted = torch.ones(n, 1, height, width, dtype=torch.bool, device=device)
    for axis, side in ((2, height), (3, width)):
        centre = torch.rand(n, 1, generator=generator, device=device) * side
        pixel = torch.arange(side, device=device) + 0.5
        inside = (pixel - centre).abs() < part * side / 2
        pasted &= inside.view(n, 1, *((side, 1) if axis == 2 else (1, side)))
    share = pasted.float().mean((1, 2, 3)).to(targets.dtype).unsqueeze(1)
    return torch.where(pasted, inputs[other], inputs), (1 - share) * targets + share * targets[other]
