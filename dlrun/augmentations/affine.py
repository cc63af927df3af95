"""Random rotations, shifts, scales and shears."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Le, Lt
from torch import Tensor

from dlrun.blocks.draws import between, uniform
from dlrun.blocks.pixel_grids import centres, looked_up
from dlrun.config.options import Positive

inputs = "images"


def affine(
    inputs: Tensor,
    masks: Tensor | None,
    generator: torch.Generator,
    *,
    rotation: Annotated[float, Ge(0), Le(180)] = 10.0,
    shift: Annotated[float, Ge(0), Le(1)] = 0.1,
    scale: Sequence[Positive] = (0.9, 1.1),
    shear: Annotated[float, Ge(0), Lt(90)] = 0.0,
) -> tuple[Tensor, Tensor | None]:
    """Rotate, shift, scale and shear each image (n, channels, height, width) at random.

    All is uniform within its range, and about the centre. Pixels are interpolated linearly. Those from
    outside the image are 0 after preprocessing, and do not count in masks.

    Args:
        rotation: Largest angle either way, in degrees.
        shift: Largest way up, down, left and right, as a share of the height or the width.
        scale: Smallest and largest factor of the sides.
        shear: Largest angle by which vertical lines lean, in degrees.

    Example:
        augmentations: [{name: affine, rotation: 15, shift: 0.1, scale: [0.8, 1.2], shear: 5}]
    """
    n, _, rows, columns = inputs.shape
    angle = uniform(-rotation, rotation, n, generator)
    down = uniform(-shift * rows, shift * rows, n, generator)
    right = uniform(-shift * columns, shift * columns, n, generator)
    factor = uniform(*between("scale", scale), n, generator)
    lean = uniform(-shear, shear, n, generator)
    return moved(inputs, masks, angle, down, right, factor, lean)


def moved(
    images: Tensor,
    masks: Tensor | None,
    angle: Tensor,
    down: Tensor,
    right: Tensor,
    factor: Tensor,
    lean: Tensor,
) -> tuple[Tensor, Tensor | None]:
    """Images sheared, scaled, rotated (clockwise) and shifted, each by its own numbers (n,).

    Angles are in degrees, ways in pixels. Each pixel comes from the place that the inverse of
    scale · [[cos a, -cos a tan s - sin a], [sin a, cos a - sin a tan s]] gives it, of determinant scale².
    """
    rows, columns = images.shape[2:]
    angle, down, right, factor, lean = (each.view(-1, 1, 1) for each in (angle, down, right, factor, lean))
    cos, sin, tan = angle.deg2rad().cos(), angle.deg2rad().sin(), lean.deg2rad().tan()
    y = centres(rows, images.device).view(1, -1, 1) - rows / 2 - down
    x = centres(columns, images.device).view(1, 1, -1) - columns / 2 - right
    from_column = ((cos - sin * tan) * x + (cos * tan + sin) * y) / factor
    from_row = (cos * y - sin * x) / factor
    return looked_up(images, masks, from_row + rows / 2, from_column + columns / 2)
