"""AutoAugment: pairs of operations that were found to suit a dataset."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dlrun.blocks.draws import integers, signs, uniform
from dlrun.blocks.policies import NO_AMOUNT, operated, usual_space

inputs = "images"

# A pair on each line: an operation, its probability, and its magnitude from 0 to LARGEST if it has one.
POLICIES = {
    "imagenet": """
        posterise 0.4 8, rotate 0.6 9
        solarise 0.6 5, autocontrast 0.6
        equalise 0.8, equalise 0.6
        posterise 0.6 7, posterise 0.6 6
        equalise 0.4, solarise 0.2 4
        equalise 0.4, rotate 0.8 8
        solarise 0.6 3, equalise 0.6
        posterise 0.8 5, equalise 1
        rotate 0.2 3, solarise 0.6 8
        equalise 0.6, posterise 0.4 6
        rotate 0.8 8, saturation 0.4 0
        rotate 0.4 9, equalise 0.6
        equalise 0, equalise 0.8
        invert 0.6, equalise 1
        saturation 0.6 4, contrast 1 8
        rotate 0.8 8, saturation 1 2
        saturation 0.8 8, solarise 0.8 7
        sharpness 0.4 7, invert 0.6
        shear_x 0.6 5, equalise 1
        saturation 0.4 0, equalise 0.6
        equalise 0.4, solarise 0.2 4
        solarise 0.6 5, autocontrast 0.6
        invert 0.6, equalise 1
        saturation 0.6 4, contrast 1 8
        equalise 0.8, equalise 0.6
    """,
    "cifar10": """
        invert 0.1, contrast 0.2 6
        rotate 0.7 2, translate_x 0.3 9
        sharpness 0.8 1, sharpness 0.9 3
        shear_y 0.5 8, translate_y 0.7 9
        autocontrast 0.5, equalise 0.9
        shear_y 0.2 7, posterise 0.3 7
        saturation 0.4 3, brightness 0.6 7
        sharpness 0.3 9, brightness 0.7 9
        equalise 0.6, equalise 0.5
        contrast 0.6 7, sharpness 0.6 5
        saturation 0.7 7, translate_x 0.5 8
        equalise 0.3, autocontrast 0.4
        translate_y 0.4 3, sharpness 0.2 6
        brightness 0.9 6, saturation 0.2 8
        solarise 0.5 2, invert 0
        equalise 0.2, autocontrast 0.6
        equalise 0.2, equalise 0.6
        saturation 0.9 9, equalise 0.6
        autocontrast 0.8, solarise 0.2 8
        brightness 0.1 3, saturation 0.7 0
        solarise 0.4 5, autocontrast 0.9
        translate_y 0.9 9, translate_y 0.7 9
        autocontrast 0.9, solarise 0.8 3
        equalise 0.8, invert 0.1
        translate_y 0.7 9, autocontrast 0.9
    """,
    "svhn": """
        shear_x 0.9 4, invert 0.2
        shear_y 0.9 8, invert 0.7
        equalise 0.6, solarise 0.6 6
        invert 0.9, equalise 0.6
        equalise 0.6, rotate 0.9 3
        shear_x 0.9 4, autocontrast 0.8
        shear_y 0.9 8, invert 0.4
        shear_y 0.9 5, solarise 0.2 6
        invert 0.9, autocontrast 0.8
        equalise 0.6, rotate 0.9 3
        shear_x 0.9 4, solarise 0.3 3
        shear_y 0.8 8, invert 0.7
        equalise 0.9, translate_y 0.6 6
        invert 0.9, equalise 0.6
        contrast 0.3 3, rotate 0.8 4
        invert 0.8, translate_y 0 2
        shear_y 0.7 6, solarise 0.4 8
        invert 0.6, rotate 0.8 4
        shear_y 0.3 7, translate_x 0.9 3
        shear_x 0.1 6, invert 0.6
        solarise 0.7 2, translate_y 0.6 7
        shear_y 0.8 4, invert 0.8
        shear_x 0.7 9, translate_y 0.8 3
        shear_y 0.8 5, autocontrast 0.7
        shear_x 0.7 2, invert 0.1
    """,
}
LARGEST = 9


def auto_augment(
    pixels: Tensor,
    masks: Tensor | None,
    generator: torch.Generator,
    *,
    policy: Literal["imagenet", "cifar10", "svhn"] = "imagenet",
) -> tuple[Tensor, Tensor | None]:
    """Change each image (n, 1 or 3, height, width) by one of 25 pairs of operations.

    Each of the two is applied with its own probability and magnitude; what can go either way does so at
    random. Pixels are from 0 to 1: dlrun undoes the preprocessing before and repeats it behind. Those from
    outside the image are black, and do not count in masks. Grey images have no saturation. Source: Cubuk et
    al. 2018, arXiv 1805.09501.

    Args:
        policy: Dataset on which the pairs were found: imagenet (photographs), cifar10 (small ones) or svhn
            (digits in scenes).

    Example:
        augmentations: [{name: auto_augment, policy: cifar10}, flip]
    """
    n, operations = len(pixels), usual_space(*pixels.shape[2:]) | {"invert": NO_AMOUNT}
    numbers, pairs = list(operations), pairs_of(policy)
    pair = integers(len(pairs), n, generator)
    for first_or_second in (0, 1):
        chance = uniform(0, 1, n, generator)
        which, magnitude = torch.full_like(pair, -1), torch.zeros_like(chance)
        for number, both in enumerate(pairs):
            name, probability, level = both[first_or_second]
            chosen = (pair == number) & (chance < probability)
            which = which.masked_fill(chosen, numbers.index(name))
            magnitude = magnitude.masked_fill(chosen, level / LARGEST)
        pixels, masks = operated(pixels, masks, operations, which, magnitude, signs(n, generator))
    return pixels, masks


def pairs_of(policy: str) -> list[list[tuple[str, float, int]]]:
    """The pairs of a policy: of both operations the name, the probability and the magnitude."""
    lines = POLICIES[policy].strip().splitlines()
    return [[_operation(words.split()) for words in line.split(",")] for line in lines]


def _operation(words: list[str]) -> tuple[str, float, int]:
    name, probability, *level = words
    return name, float(probability), int(level[0]) if level else 0
