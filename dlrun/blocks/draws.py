"""Random numbers of which each example of a batch draws its own, and the ranges that they come from."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor

from dlrun.errors import UserError

TRIES = 10  # for a rectangle that fits into the image


def uniform(low: float, high: float, n: int, generator: torch.Generator) -> Tensor:
    """Draw n numbers from low to high, in float32."""
    return low + (high - low) * torch.rand(n, generator=generator, device=generator.device)


def integers(count: int, n: int, generator: torch.Generator) -> Tensor:
    """Draw n whole numbers from 0 to count - 1, all alike."""
    return torch.randint(count, (n,), generator=generator, device=generator.device)


def signs(n: int, generator: torch.Generator) -> Tensor:
    """Draw n times -1 or 1."""
    return 2.0 * integers(2, n, generator) - 1.0


def between(name: str, bounds: Sequence[float]) -> tuple[float, float]:
    """The two ends of a range that an option names. Raises UserError if they are no range."""
    if len(bounds) != 2 or bounds[0] > bounds[1]:
        what = f"{name} is {list(bounds)}, but must be the smallest and the largest value"
        raise UserError(
            what, fix=f"write {name}: {sorted([bounds[0], bounds[-1]] if bounds else [0.5, 1.0])}"
        )
    return bounds[0], bounds[1]


def rectangles(
    size: tuple[int, int],
    scale: Sequence[float],
    ratio: Sequence[float],
    n: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Draw n rectangles within images of `size` (height, width).

    Gives top, left, height and width in pixels, as whole numbers (n,) in float32, and `found` (n,). The area
    is uniform from the share scale[0] to scale[1] of the image, the width over the height uniform in its
    logarithm from ratio[0] to ratio[1]. Of TRIES the first that fits is taken; where none does, `found` is
    False, and the rectangle is as large as the image.
    """
    rows, columns = size
    areas = rows * columns * uniform(*between("scale", scale), TRIES * n, generator)
    low, high = between("ratio", ratio)
    ratios = uniform(log(low), log(high), TRIES * n, generator).exp()
    heights = (areas / ratios).sqrt().round().view(TRIES, n)
    widths = (areas * ratios).sqrt().round().view(TRIES, n)
    fits = (heights >= 1) & (heights <= rows) & (widths >= 1) & (widths <= columns)
    first = fits.to(torch.uint8).argmax(0, keepdim=True)
    found = fits.gather(0, first).squeeze(0)
    height = torch.where(found, heights.gather(0, first).squeeze(0), float(rows))
    width = torch.where(found, widths.gather(0, first).squeeze(0), float(columns))
    top = (uniform(0, 1, n, generator) * (rows - height + 1)).floor()
    left = (uniform(0, 1, n, generator) * (columns - width + 1)).floor()
    return top, left, height, width, found
