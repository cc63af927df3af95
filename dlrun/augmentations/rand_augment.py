"""RandAugment: a few random operations on each image, all of the same magnitude."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from dlrun.blocks.draws import integers, signs
from dlrun.blocks.policies import operated, usual_space
from dlrun.config.options import Few

inputs = "images"

LARGEST = 30  # magnitude


def rand_augment(
    pixels: Tensor,
    masks: Tensor | None,
    generator: torch.Generator,
    *,
    operations: Few = 2,
    magnitude: Annotated[int, Ge(0), Le(30)] = 9,
) -> tuple[Tensor, Tensor | None]:
    """Change each image (n, 1 or 3, height, width) by random operations, one after the other.

    They are shears, shifts, rotation, brightness, saturation, contrast, sharpness, posterise, solarise,
    autocontrast, equalise, and nothing. Pixels are from 0 to 1: dlrun undoes the preprocessing before and
    repeats it behind. Those from outside the image are black, and do not count in masks. Grey images have no
    saturation. Source: Cubuk et al. 2019, arXiv 1909.13719.

    Args:
        operations: Operations on each image; one may be drawn again.
        magnitude: Strength of all operations, of 30: there a shear is 0.3, a shift 0.45 of the side, a
            rotation 30 degrees, a factor 0.1 or 1.9, posterise keeps 4 bits, and solarise inverts all.

    Example:
        augmentations: [{name: rand_augment, operations: 2, magnitude: 9}, flip]
    """
    n, space = len(pixels), usual_space(*pixels.shape[2:])
    strength = torch.full((n,), magnitude / LARGEST, device=generator.device)
    for _ in range(operations):
        which = integers(len(space), n, generator)
        pixels, masks = operated(pixels, masks, space, which, strength, signs(n, generator))
    return pixels, masks
