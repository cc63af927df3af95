"""Random changes of brightness, contrast, saturation and hue."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from dlrun.blocks.colours import blended, greyed, has_colours, mean_grey, with_hue_turned
from dlrun.blocks.draws import uniform
from dlrun.config.options import NonNegative

inputs = "images"


def colour_jitter(
    pixels: Tensor,
    generator: torch.Generator,
    *,
    brightness: NonNegative = 0.4,
    contrast: NonNegative = 0.4,
    saturation: NonNegative = 0.4,
    hue: Annotated[float, Ge(0), Le(0.5)] = 0.1,
) -> Tensor:
    """Change brightness, contrast, saturation and hue of images, in this order and at random.

    Images (n, 1 or 3, height, width) have pixels from 0 to 1 and keep within them: dlrun undoes the
    preprocessing before and repeats it behind. Factors are uniform from 1 - x, or 0, to 1 + x. Grey images
    have neither saturation nor hue.

    Args:
        brightness: Largest distance of the factor of all pixels from 1.
        contrast: Largest distance from 1 of the factor of each pixel's distance from the mean grey.
        saturation: Largest distance from 1 of the factor of each pixel's distance from its own grey.
        hue: Largest turn either way, as a share of the circle of colours.

    Example:
        augmentations: [{name: colour_jitter, brightness: 0.3, contrast: 0.3, saturation: 0.3, hue: 0.05}]
    """
    n, in_colours = len(pixels), has_colours(pixels)

    def factors(most: float) -> Tensor:
        return uniform(max(0.0, 1 - most), 1 + most, n, generator)

    if brightness:
        pixels = blended(pixels, None, factors(brightness))
    if contrast:
        pixels = blended(pixels, mean_grey(pixels), factors(contrast))
    if saturation and in_colours:
        pixels = blended(pixels, greyed(pixels), factors(saturation))
    if hue and in_colours:
        pixels = with_hue_turned(pixels, uniform(-hue, hue, n, generator))
    return pixels
