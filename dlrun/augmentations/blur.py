"""Gaussian blur of random width."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import ceil
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Le
from torch import Tensor

from dlrun.blocks.chosen_examples import change_chosen
from dlrun.blocks.draws import between, uniform
from dlrun.config.options import Positive

inputs = "images"

REACH = 3  # standard deviations, beyond which a weight is left out


def blur(
    inputs: Tensor,
    generator: torch.Generator,
    *,
    probability: Annotated[float, Ge(0), Le(1)] = 0.5,
    sigma: Sequence[Positive] = (0.1, 2.0),
) -> Tensor:
    """Blur images (n, channels, height, width) by a Gaussian at random, each by its own.

    The image is mirrored at its edges. Raises ValueError if it is smaller than the blur reaches.

    Args:
        probability: Share of the images that are blurred.
        sigma: Smallest and largest standard deviation of the Gaussian, in pixels.

    Example:
        augmentations: [{name: blur, probability: 0.2, sigma: [0.1, 1.0]}]
    """
    n, _, rows, columns = inputs.shape
    low, high = between("sigma", sigma)
    reach = ceil(REACH * high)
    if reach >= min(rows, columns):
        raise ValueError(f"a blur of sigma {high:g} reaches {reach:,} pixels, more than the image has")
    images, chosen = inputs.clone(), uniform(0, 1, n, generator) < probability
    change_chosen(images, chosen, partial(gaussian, reach), uniform(low, high, n, generator))
    return images


def gaussian(reach: int, images: Tensor, sigma: Tensor) -> Tensor:
    """Images blurred by Gaussians (n,), whose weights beyond `reach` pixels are left out."""
    n, channels, rows, columns = images.shape
    away = torch.arange(-reach, reach + 1, device=images.device)
    weights = (-0.5 * (away / sigma.unsqueeze(1)).square()).exp()
    weights = (weights / weights.sum(1, keepdim=True)).to(images.dtype).repeat_interleave(channels, 0)
    padded = F.pad(images, [reach] * 4, mode="reflect").reshape(1, n * channels, rows + 2 * reach, -1)
    down = F.conv2d(padded, weights.view(-1, 1, 2 * reach + 1, 1), groups=n * channels)
    both = F.conv2d(down, weights.view(-1, 1, 1, 2 * reach + 1), groups=n * channels)
    return both.view(n, channels, rows, columns)
