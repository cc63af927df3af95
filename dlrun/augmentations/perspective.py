"""Images as if they were seen from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from dlrun.blocks.draws import uniform
from dlrun.blocks.pixel_grids import centres, grid_of, look_up_chosen
from dlrun.config.options import Fraction

inputs = "images"

FAR = 2.0  # sides, at which places end that run to infinity towards the horizon


def perspective(
    inputs: Tensor,
    masks: Tensor | None,
    generator: torch.Generator,
    *,
    probability: Annotated[float, Ge(0), Le(1)] = 0.5,
    distortion: Fraction = 0.5,
) -> tuple[Tensor, Tensor | None]:
    """Show some images (n, channels, height, width) as planes that are seen at an angle.

    Each corner moves towards the centre, its row and its column by themselves. Pixels are interpolated
    linearly. Those from outside the image are 0 after preprocessing, and do not count in masks.

    Args:
        probability: Share of the images that are changed.
        distortion: Largest way of a corner, as a share of half the height and half the width.

    Example:
        augmentations: [{name: perspective, probability: 0.3, distortion: 0.2}]
    """
    n = len(inputs)
    chosen = uniform(0, 1, n, generator) < probability
    x, y = uniform(0, distortion / 2, 8 * n, generator).view(2, 4, n)
    corners = [x[0], y[0], 1 - x[1], y[1], 1 - x[2], 1 - y[2], x[3], 1 - y[3]]
    images, masks = inputs.clone(), None if masks is None else masks.clone()
    look_up_chosen(images, masks, chosen, seen_from, torch.stack(corners, 1).view(n, 4, 2))
    return images, masks


def seen_from(size: Sequence[int], corners: Tensor) -> Tensor:
    """The grid (n, height, width, 2) of images whose corners move to others (n, 4, 2).

    These are columns and rows as shares of the sides, clockwise from the upper left corner. The unit square
    goes to them by (u, v) ↦ (a u + b v + c, d u + e v + f) / (g u + h v + 1), and each pixel comes from where
    the inverse of that matrix leads to.
    """
    rows, columns = size
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = (corner.unbind(1) for corner in corners.unbind(1))
    sum_x, sum_y = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    det = (x1 - x2) * (y3 - y2) - (x3 - x2) * (y1 - y2)
    g = (sum_x * (y3 - y2) - (x3 - x2) * sum_y) / det
    h = ((x1 - x2) * sum_y - sum_x * (y1 - y2)) / det
    a, b, c = x1 - x0 + g * x1, x3 - x0 + h * x3, x0
    d, e, f = y1 - y0 + g * y1, y3 - y0 + h * y3, y0
    inverse = (e - f * h, c * h - b, b * f - c * e, f * g - d, a - c * g, c * d - a * f)
    of_u, of_v = (each.view(3, -1, 1, 1) for each in torch.stack(inverse).split(3))
    of_both = torch.stack([d * h - e * g, b * g - a * h, a * e - b * d]).view(3, -1, 1, 1)
    x = (centres(columns, corners.device) / columns).view(1, 1, -1)
    y = (centres(rows, corners.device) / rows).view(1, -1, 1)

    def at(factors: Tensor) -> Tensor:
        return factors[0] * x + factors[1] * y + factors[2]

    u, v = ((at(each) / at(of_both)).nan_to_num(FAR).clamp(-FAR, FAR) for each in (of_u, of_v))
    return grid_of(size, v * rows, u * columns)
