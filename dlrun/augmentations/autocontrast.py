"""Images with the strongest contrast."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from dlrun.blocks.chosen_examples import change_chosen
from dlrun.blocks.draws import uniform
from dlrun.blocks.tones import autocontrasted

inputs = "images"


def autocontrast(
    pixels: Tensor, generator: torch.Generator, *, probability: Annotated[float, Ge(0), Le(1)] = 0.5
) -> Tensor:
    """Stretch each channel of some images (n, channels, height, width) from black to full brightness.

    Pixels are from 0 to 1: dlrun undoes the preprocessing before and repeats it behind. A channel of a single
    value stays as it is.

    Args:
        probability: Share of the images that are changed.

    Example:
        augmentations: [{name: autocontrast, probability: 0.2}]
    """
    images = pixels.clone()
    change_chosen(images, uniform(0, 1, len(pixels), generator) < probability, autocontrasted)
    return images
