"""Random erasing: a rectangle of some images is set to 0 or to noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from dlrun.blocks.draws import rectangles, uniform
from dlrun.config.options import Positive

inputs = "images"


def erasing(
    inputs: Tensor,
    generator: torch.Generator,
    *,
    probability: Annotated[float, Ge(0), Le(1)] = 0.5,
    scale: Sequence[Annotated[float, Gt(0), Le(1)]] = (0.02, 0.33),
    ratio: Sequence[Positive] = (0.3, 3.3),
    fill: Literal["zero", "noise"] = "zero",
) -> Tensor:
    """Erase a random rectangle of some images (n, channels, height, width).

    Of ten rectangles the first that fits into the image is taken, without one the image stays. Source: Zhong
    et al. 2017, arXiv 1708.04896.

    Args:
        probability: Share of the images of which something is erased.
        scale: Smallest and largest share of the image's area.
        ratio: Smallest and largest width over height of the rectangle, in pixels.
        fill: New pixels, after preprocessing: zero, or noise of standard deviation 1 in each.

    Example:
        augmentations: [{name: erasing, probability: 0.25, fill: noise}]
    """
    n, _, rows, columns = inputs.shape
    chosen = uniform(0, 1, n, generator) < probability
    top, left, height, width, found = rectangles((rows, columns), scale, ratio, n, generator)
    is_row, is_column = inside(rows, top, height), inside(columns, left, width)
    gone = is_row.view(n, 1, rows, 1) & is_column.view(n, 1, 1, columns)
    gone &= (chosen & found).view(n, 1, 1, 1)
    if fill == "zero":
        return inputs.masked_fill(gone, 0)
    noise = torch.randn(inputs.shape, generator=generator, device=inputs.device, dtype=inputs.dtype)
    return torch.where(gone, noise, inputs)


def inside(side: int, first: Tensor, length: Tensor) -> Tensor:
    """A mask (n, side): True for pixels along one side that lie in each image's rectangle."""
    pixel = torch.arange(side, device=first.device)
    return (first.unsqueeze(1) <= pixel) & (pixel < (first + length).unsqueeze(1))
