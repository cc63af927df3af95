"""The colours of images whose pixels are from 0 to 1."""

from __future__ import annotations

import torch
from torch import Tensor

GREY = (0.2989, 0.587, 0.114)  # the shares of red, green and blue in the luma of ITU-R BT.601


def has_colours(images: Tensor) -> bool:
    """True for images (n, 3, height, width), False for those of one channel. Raises ValueError for others."""
    channels = images.shape[1]
    if channels not in (1, 3):
        raise ValueError(f"they have {channels:,} channels, which are neither grey nor red, green and blue")
    return channels == 3


def greyed(images: Tensor) -> Tensor:
    """The brightness (n, 1, height, width) of images; grey ones are their own."""
    if not has_colours(images):
        return images
    red, green, blue = images.split(1, 1)
    grey: Tensor = GREY[0] * red
    return grey.add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2])


def with_hue_turned(images: Tensor, turn: Tensor) -> Tensor:
    """Images of colours whose hue is turned by a share (n,) of the circle, at the same value and saturation.

    Red, green and blue are v - c · clamp(min(k, 4 - k), 0, 1) with k = 5, 3 and 1 + 6 · hue, modulo 6, where
    v is the largest of them and c its distance from the smallest.
    """
    red, green, blue = images.unbind(1)
    largest = torch.maximum(torch.maximum(red, green), blue)
    chroma = largest - torch.minimum(torch.minimum(red, green), blue)
    some = torch.where(chroma == 0, 1.0, chroma)
    sixths = torch.where(
        largest == red,
        (green - blue) / some,
        torch.where(largest == green, 2 + (blue - red) / some, 4 + (red - green) / some),
    )
    sixths += 6 * turn.to(images.dtype).view(-1, 1, 1)
    channels = []
    for start in (5, 3, 1):
        k = (sixths + start).remainder_(6)
        channels.append(largest - chroma * torch.minimum(k, 4 - k).clamp_(0, 1))
    return torch.stack(channels, 1)
