"""Random crops of any size and shape, enlarged to the size of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Gt, Le
from torch import Tensor

from dlrun.blocks.draws import rectangles
from dlrun.blocks.pixel_grids import centres, grid_of, looked_up, nearest
from dlrun.config.options import Positive

inputs = "images"


def random_resized_crop(
    inputs: Tensor,
    masks: Tensor | None,
    generator: torch.Generator,
    size: tuple[int, int],
    *,
    scale: Sequence[Annotated[float, Gt(0), Le(1)]] = (0.08, 1.0),
    ratio: Sequence[Positive] = (0.75, 1.3333333333333333),
) -> tuple[Tensor, Tensor | None]:
    """Enlarge a random part of each image (n, channels, height, width) to the whole of it.

    Of ten rectangles the first that fits into the image is taken, without one the largest in its centre that
    has an allowed ratio. Pixels are interpolated linearly, after smoothing where they become fewer; masks are
    those of the nearest pixel. Images that are stored larger than the model gets them (`store_size` of
    image_folder) keep more of their pixels. Source: Szegedy et al. 2014, arXiv 1409.4842.

    Args:
        scale: Smallest and largest share of the image's area.
        ratio: Smallest and largest width over height of the part, in pixels.

    Example:
        augmentations: [{name: random_resized_crop, scale: [0.35, 1.0]}, flip]
    """
    n, _, rows, columns = inputs.shape
    top, left, height, width, found = rectangles((rows, columns), scale, ratio, n, generator)
    shape = min(max(columns / rows, ratio[0]), ratio[1])
    central = round(min(rows, columns / shape)), round(min(columns, rows * shape))
    height, width = (torch.where(found, *each) for each in ((height, central[0]), (width, central[1])))
    top = torch.where(found, top, (rows - central[0]) // 2)
    left = torch.where(found, left, (columns - central[1]) // 2)
    return resized(inputs, masks, size, top, left, height, width)


def resized(
    images: Tensor,
    masks: Tensor | None,
    size: tuple[int, int],
    top: Tensor,
    left: Tensor,
    height: Tensor,
    width: Tensor,
) -> tuple[Tensor, Tensor | None]:
    """The rectangle of each image, given by numbers of pixels (n,), in the size (height, width)."""
    y, x = along(size[0], top, height), along(size[1], left, width)
    if images.shape[2:] == size:  # it is enlarged, so that there is nothing to smooth before
        return looked_up(images, masks, y.unsqueeze(2), x.unsqueeze(1))
    rows, columns = images.shape[2:]
    by_row = weights(size[0], rows, top, height).to(images.dtype).unsqueeze(1)
    by_column = weights(size[1], columns, left, width).to(images.dtype).unsqueeze(1)
    moved = None
    if masks is not None:
        moved = nearest(masks, grid_of((rows, columns), y.unsqueeze(2), x.unsqueeze(1)))
    return by_row @ images @ by_column.mT, moved


def weights(side: int, stored: int, first: Tensor, length: Tensor) -> Tensor:
    """The shares (n, side, stored) of the pixels along one side in those of the resized image.

    They fall linearly with the distance, to 0 at one pixel of the larger of both grids.
    """
    first, length = first.view(-1, 1, 1), length.view(-1, 1, 1)
    pixel, step = centres(stored, first.device), length / side
    place = first + centres(side, first.device).view(1, -1, 1) * step
    near = (1 - (pixel - place).abs() / step.clamp_min(1)).clamp_min(0)
    near = near * ((pixel > first) & (pixel < first + length))
    return near / near.sum(2, keepdim=True)


def along(side: int, first: Tensor, length: Tensor) -> Tensor:
    """The places (n, side) along one side, none nearer to the edge of a rectangle than half a pixel."""
    first, length = first.unsqueeze(1), length.unsqueeze(1)
    share = centres(side, first.device) / side
    return first + (share * length).clamp_min(0.5).minimum(length - 0.5)
