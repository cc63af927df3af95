"""AugMix: each image is blended with others that random operations have made of it."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from dlrun.blocks.blends import betas, dirichlets
from dlrun.blocks.draws import integers, signs
from dlrun.blocks.policies import operated, space
from dlrun.config.options import Few, Positive

inputs = "images"

LEVELS = 10  # of magnitude, of which the first `severity` are drawn
DEEPEST = 3  # operations in a chain of random length
NOT_IN_THE_PAPER = ("brightness", "saturation", "contrast", "sharpness")


def augmix(
    pixels: Tensor,
    masks: Tensor | None,
    generator: torch.Generator,
    *,
    severity: Annotated[int, Ge(1), Le(10)] = 3,
    mixture_width: Few = 3,
    chain_depth: Few | None = None,
    alpha: Positive = 1.0,
    all_operations: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """Blend each image (n, 1 or 3, height, width) with chains of random operations on it.

    Each image draws its chains, their shares from a Dirichlet distribution, and the share of the image itself
    from a beta distribution. Pixels are from 0 to 1: dlrun undoes the preprocessing before and repeats it
    behind. Those from outside the image are black. Raises ValueError for masks, because each chain moves its
    pixels elsewhere. The loss stays as it is, without the paper's term for equal predictions. Source:
    Hendrycks et al. 2019, arXiv 1912.02781.

    Args:
        severity: Largest magnitude of an operation, of 10.
        mixture_width: Chains for each image.
        chain_depth: Operations in a chain; null: from 1 to 3 at random.
        alpha: Parameter of both distributions: the larger, the more equal are all shares.
        all_operations: Draw brightness, saturation, contrast and sharpness too. The paper leaves them out,
            because it tests on images that are changed so.

    Example:
        augmentations: [{name: augmix, severity: 3}, flip]
    """
    if masks is not None:
        raise ValueError("each chain moves its pixels elsewhere, so that masks lie over none of them")
    n, (rows, columns) = len(pixels), pixels.shape[2:]
    operations = space(0.3, (columns / 3, rows / 3), 30.0, 0.9, (4, 0))
    left_out = ("identity", *(() if all_operations else NOT_IN_THE_PAPER))
    operations = {name: amounts for name, amounts in operations.items() if name not in left_out}
    kept = betas(alpha, n, generator).to(pixels.dtype).view(n, 1, 1, 1)
    mixed = kept * pixels
    for share in dirichlets(alpha, mixture_width, n, generator).to(pixels.dtype):
        depth, changed = 1 + integers(chain_depth or DEEPEST, n, generator), pixels
        for step in range(chain_depth or DEEPEST):
            which = integers(len(operations), n, generator)
            if chain_depth is None:
                which = torch.where(step < depth, which, -1)
            magnitude = integers(severity, n, generator) / (LEVELS - 1)
            changed, _ = operated(changed, None, operations, which, magnitude, signs(n, generator))
        mixed += (1 - kept) * share.view(n, 1, 1, 1) * changed
    return mixed, None
