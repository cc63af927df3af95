"""Random crops of any size and shape, enlarged to the size of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Gt, Le
from torch import Tensor

from dlrun.blocks.draws import rectangles
from dlrun.blocks.pixel_grids import centres, looked_up
from dlrun.config.options import Positive

inputs = "images"


def random_resized_crop(
    inputs: Tensor,
    masks: Tensor | None,
    generator: torch.Generator,
    *,
    scale: Sequence[Annotated[float, Gt(0), Le(1)]] = (0.08, 1.0),
    ratio: Sequence[Positive] = (0.75, 1.3333333333333333),
) -> tuple[Tensor, Tensor | None]:
    """Enlarge a random part of each image (n, channels, height, width) to the whole of it.

    Of ten rectangles the first that fits into the image is taken, without one the largest in its centre that
    has an allowed ratio. Pixels are interpolated linearly; masks are those of the nearest pixel. Source:
    Szegedy et al. 2014, arXiv 1409.4842.

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
    return resized(inputs, masks, top, left, height, width)


def resized(
    images: Tensor, masks: Tensor | None, top: Tensor, left: Tensor, height: Tensor, width: Tensor
) -> tuple[Tensor, Tensor | None]:
    """The rectangle of each image, given by numbers of pixels (n,), in the size of the image.

    It is enlarged, so that there is nothing to smooth before.
    """
    rows, columns = images.shape[2:]
    y = along(rows, top, height, images.device)
    x = along(columns, left, width, images.device)
    return looked_up(images, masks, y.unsqueeze(2), x.unsqueeze(1))


def along(side: int, first: Tensor, length: Tensor, device: torch.device) -> Tensor:
    """The places (n, side) along one side, none nearer to the edge of a rectangle than half a pixel."""
    first, length = first.unsqueeze(1), length.unsqueeze(1)
    share = centres(side, device) / side
    return first + (share * length).clamp_min(0.5).minimum(length - 0.5)
