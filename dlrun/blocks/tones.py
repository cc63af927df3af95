"""The tones and the sharpness of images whose pixels are from 0 to 1, of any number of channels."""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = 256  # of a pixel of 8 bits
WHITE = LEVELS - 1
NEARLY = 1e-4  # of a level's distance from the next, 0.004: rounding in the preprocessing is far below it
CENTRE = 5  # the weight of a pixel among its neighbours in the smoothing of Pillow's ImageFilter.SMOOTH


def inverted(images: Tensor) -> Tensor:
    """The negative of images."""
    return 1 - images


def solarised(images: Tensor, threshold: Tensor) -> Tensor:
    """Images whose pixels from a threshold (n,) on are inverted."""
    # A choice by numbers 0 and 1 takes a fraction of the time of torch.where.
    is_bright = (images - (_of_each(threshold, images) - NEARLY)).ge_(0)
    return torch.lerp(images, 1 - images, is_bright)


def posterised(images: Tensor, bits: Tensor) -> Tensor:
    """Images of which each pixel, as a number of 8 bits, keeps its first `bits` (n,)."""
    step = _of_each(torch.exp2(8 - bits).round(), images)
    # Powers of 2, so that a product with the reciprocal, which is faster than a quotient, is as exact.
    return _levels(images).mul_(1 / step).floor_().mul_(step).div_(WHITE)


def autocontrasted(images: Tensor) -> Tensor:
    """Images whose channels are stretched from 0 to 1; one of a single value stays."""
    darkest, brightest = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    width = brightest - darkest
    is_flat = width == 0
    stretched = (images - darkest.masked_fill(is_flat, 0)).div_(width.masked_fill_(is_flat, 1))
    return stretched.clamp_(0, 1)


def equalised(images: Tensor) -> Tensor:
    """Images in whose channels each level is as frequent as another, as far as levels can be moved.

    A level becomes the number of darker pixels over a step, a 255th of those that do not have the largest
    level, rounded; a channel with fewer than 255 of these stays. That is the rule of Pillow.
    """
    n, channels, height, width = images.shape
    own = _levels(images)
    largest = own.amax((2, 3)).to(torch.int64).view(-1, 1)
    first = torch.arange(0, n * channels * LEVELS, LEVELS, device=images.device).view(n, channels, 1, 1)
    place = own.to(torch.int64).add_(first).flatten()
    # Along a single axis, where deterministic kernels have a way of their own to add.
    counts = torch.zeros(n * channels * LEVELS, dtype=torch.int32, device=images.device)
    counts.scatter_add_(0, place, torch.ones_like(counts[:1]).expand_as(place))
    counts = counts.view(-1, LEVELS)
    not_darker = counts.cumsum(1)
    step = (height * width - counts.gather(1, largest)) // WHITE
    darker = not_darker - counts
    moved = ((darker + step // 2) // step.clamp_min(1)).clamp_(0, WHITE)
    stays = torch.arange(LEVELS, device=images.device)
    moved = torch.where(step == 0, stays, moved).to(images.dtype).div_(WHITE)
    return moved.flatten().index_select(0, place).view(images.shape)


def sharpened(images: Tensor, factor: Tensor) -> Tensor:
    """Images whose pixels are `factor` (n,) times as far from those of the smoothed image, from 0 to 1.

    Less than 1 smooths. The pixels at the edges, which lack neighbours, stay.
    """
    result = images.clone()
    inner = result[..., 1:-1, 1:-1]
    down = images[..., :-2, :] + images[..., 1:-1, :]
    down += images[..., 2:, :]
    around = down[..., :-2] + down[..., 1:-1]
    around += down[..., 2:]
    smooth = around.add_(inner, alpha=CENTRE - 1).div_(CENTRE + 8)
    inner.lerp_(smooth, (1 - _of_each(factor, images)).expand_as(inner))
    return result.clamp_(0, 1)


def _levels(images: Tensor) -> Tensor:
    """The pixels as whole numbers from 0 to 255, as floats."""
    return (WHITE * images).round_().clamp_(0, WHITE)


def _of_each(numbers: Tensor, images: Tensor) -> Tensor:
    """A number of each image, (n, 1, 1, 1)."""
    return numbers.to(images.dtype).view(-1, 1, 1, 1)
