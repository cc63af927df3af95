"""Images and masks looked up at other places than their own pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dlrun.blocks.chosen_examples import change_chosen
from dlrun.blocks.places import IGNORED


def centres(side: int, device: torch.device) -> Tensor:
    """The centres of the pixels along one side, (side,): 0.5, 1.5, …"""
    return torch.arange(side, device=device) + 0.5


def looked_up(
    images: Tensor, masks: Tensor | None, rows: Tensor, columns: Tensor
) -> tuple[Tensor, Tensor | None]:
    """The images (n, channels, height, width) and masks (n, height, width) at other places.

    `rows` and `columns` (n, height, width), or what expands to it, are the places that each pixel comes from,
    in pixels from the edge. Images are interpolated linearly, and 0 outside; masks are those of the nearest
    pixel, and IGNORED outside.
    """
    grid = grid_of(images.shape[2:], rows, columns)
    return interpolated(images, grid), None if masks is None else nearest(masks, grid)


def look_up_chosen(
    images: Tensor,
    masks: Tensor | None,
    chosen: Tensor,
    grid: Callable[[Sequence[int], Tensor], Tensor],
    numbers: Tensor,
) -> None:
    """Look up the `chosen` images and masks (n, …) in place, at the `grid` of their size and numbers."""
    change_chosen(images, chosen, lambda own, given: interpolated(own, grid(own.shape[2:], given)), numbers)
    if masks is not None:
        change_chosen(masks, chosen, lambda own, given: nearest(own, grid(own.shape[1:], given)), numbers)


def grid_of(size: Sequence[int], rows: Tensor, columns: Tensor) -> Tensor:
    """The places of `looked_up` (n, height, width, 2), column and row, as -1 to 1 within images of a size."""
    height, width = size
    return torch.stack(torch.broadcast_tensors(2 / width * columns - 1, 2 / height * rows - 1), 3)


def interpolated(images: Tensor, grid: Tensor) -> Tensor:
    """The images at the places of a grid, interpolated linearly, and 0 outside."""
    return F.grid_sample(images, grid.to(images.dtype), "bilinear", "zeros", align_corners=False)


def nearest(masks: Tensor, grid: Tensor) -> Tensor:
    """The classes of the pixels that are nearest to the places of a grid, and IGNORED outside."""
    # Zeros are what lies outside, so classes are counted from IGNORED; float32 holds them exactly.
    counted = (masks - IGNORED).unsqueeze(1).to(grid.dtype)
    found = F.grid_sample(counted, grid, "nearest", "zeros", align_corners=False)
    return found.squeeze(1).to(masks.dtype) + IGNORED
