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


def mean_grey(images: Tensor) -> Tensor:
    """The mean brightness (n, 1, 1, 1) of images, whose bits do not depend on the size of the batch."""
    return greyed(images).mean(3, keepdim=True).mean(2, keepdim=True)


def blended(images: Tensor, other: Tensor | None, factor: Tensor) -> Tensor:
    """`factor` (n,) times the images and 1 - `factor` times other ones, None for black, from 0 to 1."""
    own = factor.to(images.dtype).view(-1, 1, 1, 1)
    changed = own * images
    if other is not None:
        changed += (1 - own) * other
    return changed.clamp_(0, 1)


def with_hue_turned(images: Tensor, turn: Tensor) -> Tensor:
    """Images of colours whose hue is turned by a share (n,) of the circle, at the same value and saturation.

    Red, green and blue are m + c · clamp(x, 0, 1) with x = |h - 3| - 1, 2 - |h - 2| and 2 - |h - 4|, where h
    is the hue in sixths of the circle, m the smallest of them and c the distance of the largest from it.
    """
    red, green, blue = images.unbind(1)
    largest = torch.maximum(torch.maximum(red, green), blue)
    smallest = torch.minimum(torch.minimum(red, green), blue)
    chroma = largest - smallest
    # A choice by numbers 0 and 1 takes a fraction of the time of torch.where.
    is_red, is_green = ((largest == own).to(images.dtype) for own in (red, green))
    times_chroma = torch.lerp(red - green + 4 * chroma, blue - red + 2 * chroma, is_green)
    times_chroma = times_chroma.lerp_(green - blue, is_red)  # 0 where there is no colour
    sixths = times_chroma.div_(chroma.clamp_min(torch.finfo(chroma.dtype).tiny))
    sixths = sixths.add_(6 * turn.to(images.dtype).view(-1, 1, 1)).remainder_(6)
    shares = (
        (sixths - 3).abs_().sub_(1),
        (sixths - 2).abs_().neg_().add_(2),
        (sixths - 4).abs_().neg_().add_(2),
    )
    return torch.stack([own.clamp_(0, 1).mul_(chroma).add_(smallest) for own in shares], 1)
