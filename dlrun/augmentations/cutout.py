"""Cutout: a square of each image, at a random position, is set to 0."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.config.options import Count


def cutout(inputs: Tensor, generator: torch.Generator, *, size: Count = 16) -> Tensor:
    """Set a random square to 0 in each image (n, channels, height, width).

    Its centre is any pixel, so the square may reach over the edge; 0 is meant after preprocessing. Raises
    ValueError if it would always cover the image. Source: DeVries and Taylor 2017, arXiv 1708.04552.

    Args:
        size: Side of the square in pixels.
    """
    n, _, height, width = inputs.shape
    if size >= 2 * max(height, width) - 1:
        raise ValueError(f"a square of {size} pixels covers all of it")
    rows = covered(n, height, size, generator)
    columns = covered(n, width, size, generator)
    return inputs.masked_fill(rows.view(n, 1, height, 1) & columns.view(n, 1, 1, width), 0)


def covered(n: int, side: int, size: int, generator: torch.Generator) -> Tensor:
    """A mask (n, side): True for pixels along one side that lie in each image's square."""
    device = generator.device
    first = torch.randint(side, (n, 1), generator=generator, device=device) - size // 2
    pixel = torch.arange(side, device=device)
    return (first <= pixel) & (pixel < first + size)
