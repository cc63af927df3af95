"""Images in which all levels of brightness are as frequent."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from dlrun.blocks.chosen_examples import change_chosen
from dlrun.blocks.draws import uniform
from dlrun.blocks.tones import equalised

inputs = "images"


def equalise(
    pixels: Tensor, generator: torch.Generator, *, probability: Annotated[float, Ge(0), Le(1)] = 0.5
) -> Tensor:
    """Equalise the histograms of some images (n, channels, height, width), of each channel by itself.

    Pixels are from 0 to 1: dlrun undoes the preprocessing before and repeats it behind. They are rounded to 8
    bits. A channel with fewer than 255 pixels below its brightest level stays as it is.

    Args:
        probability: Share of the images that are changed.

    Example:
        augmentations: [{name: equalise, probability: 0.2}]
    """
    images = pixels.clone()
    change_chosen(images, uniform(0, 1, len(pixels), generator) < probability, equalised)
    return images
