"""Images whose bright pixels are inverted."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from dlrun.blocks.chosen_examples import change_chosen
from dlrun.blocks.draws import uniform
from dlrun.blocks.tones import solarised

inputs = "images"


def solarise(
    pixels: Tensor,
    generator: torch.Generator,
    *,
    probability: Annotated[float, Ge(0), Le(1)] = 0.5,
    threshold: Annotated[float, Ge(0), Le(1)] = 0.5,
) -> Tensor:
    """Invert the bright pixels of some images (n, channels, height, width), in each channel by itself.

    Pixels are from 0 to 1: dlrun undoes the preprocessing before and repeats it behind.

    Args:
        probability: Share of the images that are changed.
        threshold: Pixels from here on are inverted: 0 gives the negative of the image, 1 makes white black.

    Example:
        augmentations: [{name: solarise, probability: 0.2, threshold: 0.5}]
    """
    n, images = len(pixels), pixels.clone()
    chosen = uniform(0, 1, n, generator) < probability
    change_chosen(images, chosen, solarised, torch.full((n,), threshold, device=pixels.device))
    return images
