"""Images with fewer levels of brightness."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from dlrun.blocks.chosen_examples import change_chosen
from dlrun.blocks.draws import uniform
from dlrun.blocks.tones import posterised

inputs = "images"


def posterise(
    pixels: Tensor,
    generator: torch.Generator,
    *,
    probability: Annotated[float, Ge(0), Le(1)] = 0.5,
    bits: Annotated[int, Ge(1), Le(8)] = 4,
) -> Tensor:
    """Keep only the first bits of each pixel of some images (n, channels, height, width).

    Pixels are from 0 to 1: dlrun undoes the preprocessing before and repeats it behind. They are rounded to 8
    bits, of which the last ones become 0.

    Args:
        probability: Share of the images that are changed.
        bits: Bits that are kept: 4 leave 16 levels in each channel, 1 two, and 8 all.

    Example:
        augmentations: [{name: posterise, bits: 3}]
    """
    n, images = len(pixels), pixels.clone()
    chosen = uniform(0, 1, n, generator) < probability
    change_chosen(images, chosen, posterised, torch.full((n,), float(bits), device=pixels.device))
    return images
