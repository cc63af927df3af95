"""TrivialAugment: a single random operation on each image."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.blocks.draws import integers, signs
from dlrun.blocks.policies import operated, space

inputs = "images"

MAGNITUDES = 31  # among which each image draws


def trivial_augment(
    pixels: Tensor, masks: Tensor | None, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Change each image (n, 1 or 3, height, width) by one random operation of random magnitude.

    It is the wide space: shears of up to 0.99, shifts of up to 32 pixels, rotations of up to 135 degrees,
    brightness, saturation, contrast and sharpness from 0.01 to 1.99, posterise down to 2 bits, solarise,
    autocontrast, equalise, or nothing. Pixels are from 0 to 1: dlrun undoes the preprocessing before and
    repeats it behind. Those from outside the image are black, and do not count in masks. Grey images have no
    saturation. Source: Müller and Hutter 2021, arXiv 2103.10158.
    """
    n, operations = len(pixels), space(0.99, (32.0, 32.0), 135.0, 0.99, (8, 2))
    which = integers(len(operations), n, generator)
    magnitude = integers(MAGNITUDES, n, generator) / (MAGNITUDES - 1)
    return operated(pixels, masks, operations, which, magnitude, signs(n, generator))
