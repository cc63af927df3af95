"""Some images without their colours."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from dlrun.blocks.chosen_examples import change_chosen
from dlrun.blocks.colours import greyed, has_colours
from dlrun.blocks.draws import uniform

inputs = "images"


def grayscale(
    pixels: Tensor, generator: torch.Generator, *, probability: Annotated[float, Ge(0), Le(1)] = 0.1
) -> Tensor:
    """Make images (n, 3, height, width) grey at random: red, green and blue become their brightness.

    Pixels are from 0 to 1: dlrun undoes the preprocessing before and repeats it behind. Raises ValueError for
    images that are grey.

    Args:
        probability: Share of the images that become grey.

    Example:
        augmentations: [{name: grayscale, probability: 0.2}]
    """
    if not has_colours(pixels):
        raise ValueError("they are grey")
    images = pixels.clone()
    change_chosen(images, uniform(0, 1, len(pixels), generator) < probability, greyed)
    return images
