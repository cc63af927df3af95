"""Images and masks looked up at other places than their own pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

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
    n, _, height, width = images.shape
    shape = (n, height, width)
    scaled = (2 / width * columns - 1).expand(shape), (2 / height * rows - 1).expand(shape)
    grid = torch.stack(scaled, 3).to(images.dtype)
    moved = F.grid_sample(images, grid, "bilinear", "zeros", align_corners=False)
    if masks is None:
        return moved, None
    # Zeros are what lies outside, so classes are counted from IGNORED; float32 holds them exactly.
    counted = (masks - IGNORED).unsqueeze(1).to(images.dtype)
    nearest = F.grid_sample(counted, grid, "nearest", "zeros", align_corners=False)
    return moved, nearest.squeeze(1).to(masks.dtype) + IGNORED
