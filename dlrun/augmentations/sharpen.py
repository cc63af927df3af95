"""Sharper or softer images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from dlrun.blocks.chosen_examples import change_chosen
from dlrun.blocks.draws import between, uniform
from dlrun.blocks.tones import sharpened
from dlrun.config.options import NonNegative

inputs = "images"


def sharpen(
    pixels: Tensor,
    generator: torch.Generator,
    *,
    probability: Annotated[float, Ge(0), Le(1)] = 0.5,
    factor: Sequence[NonNegative] = (1.0, 3.0),
) -> Tensor:
    """Sharpen images (n, channels, height, width) at random, each by its own factor.

    It multiplies the distance of each pixel from those of the smoothed image. Pixels are from 0 to 1 and keep
    within: dlrun undoes the preprocessing before and repeats it behind. Those at the edges stay.

    Args:
        probability: Share of the images that are changed.
        factor: Smallest and largest factor: 1 changes nothing, less smooths, 0 is the smoothed image.

    Example:
        augmentations: [{name: sharpen, probability: 0.5, factor: [0.0, 2.0]}]
    """
    n, images = len(pixels), pixels.clone()
    chosen = uniform(0, 1, n, generator) < probability
    change_chosen(images, chosen, sharpened, uniform(*between("factor", factor), n, generator))
    return images
