"""A square of each image blotted out, at a place drawn for each."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.config.options import Count


def cutout(inputs: Tensor, generator: torch.Generator, *, size: Count = 16) -> Tensor:
    """The images (n, channels, height, width), each with a square of `size` pixels that is zero.

    Its centre is any pixel, so that it may hang over the edge; it is zero after preprocessing. Raises
    ValueError where it would always cover everything. Source: DeVries and Taylor 2017, arXiv 1708.04552.
    """
    n, _, height, width = inputs.shape
    if size >= 2 * max(height, width) - 1:
        raise ValueError(f"a square of {size} pixels covers all of it")
    rows = covered(n, height, size, generator)
    columns = covered(n, width, size, generator)
    return inputs.masked_fill(rows.view(n, 1, height, 1) & columns.view(n, 1, 1, width), 0)


def covered(n: int, side: int, size: int, generator: torch.Generator) -> Tensor:
    """Which pixels along one side of each of n images lie in its square: (n, side)."""
    device = generator.device
    first = torch.randint(side, (n, 1), generator=generator, device=device) - size // 2
    pixel = torch.arange(side, device=device)
    return (first <= pixel) & (pixel < first + size)
