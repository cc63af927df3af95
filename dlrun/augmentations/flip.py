"""Random flips."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor


def flip(
    inputs: Tensor,
    masks: Tensor | None,
    generator: torch.Generator,
    *,
    probability: Annotated[float, Ge(0), Le(1)] = 0.5,
    vertical: Annotated[float, Ge(0), Le(1)] = 0.0,
) -> tuple[Tensor, Tensor | None]:
    """Mirror images (n, channels, height, width) at random, left to right or top to bottom.

    Args:
        probability: Share of the images that are mirrored left to right.
        vertical: Share of the images that are mirrored top to bottom.
    """
    inputs, masks = mirrored(inputs, masks, generator, probability, -1)
    return mirrored(inputs, masks, generator, vertical, -2) if vertical else (inputs, masks)


def mirrored(
    inputs: Tensor, masks: Tensor | None, generator: torch.Generator, share: float, axis: int
) -> tuple[Tensor, Tensor | None]:
    """Some images and their masks (n, height, width) mirrored along one axis."""
    chosen = torch.rand(len(inputs), generator=generator, device=inputs.device) < share
    images = torch.where(chosen.view(-1, 1, 1, 1), inputs.flip(axis), inputs)
    return images, None if masks is None else torch.where(chosen.view(-1, 1, 1), masks.flip(axis), masks)
