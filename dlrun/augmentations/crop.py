"""Random crops of padded images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dlrun.blocks.places import IGNORED
from dlrun.config.options import NonNegativeInt


def crop(
    inputs: Tensor,
    masks: Tensor | None,
    generator: torch.Generator,
    size: tuple[int, int],
    *,
    padding: NonNegativeInt = 4,
) -> tuple[Tensor, Tensor | None]:
    """Shift each image (n, channels, height, width) at random.

    Of images that are stored larger than the model gets them (`store_size` of image_folder) it is any part of
    that size. Pixels from outside the image are 0 after preprocessing, and do not count in masks.

    Args:
        padding: Largest shift up, down, left and right beyond the edges, in pixels.
    """
    n, device = len(inputs), inputs.device
    if padding > max(size):
        raise ValueError(f"padding of {padding:,} pixels is more than the image has")
    places = []
    for side, stored in zip(size, inputs.shape[2:], strict=True):
        room = stored + 2 * padding - side
        first = torch.randint(room + 1, (n, 1), generator=generator, device=device)
        places.append(first + torch.arange(side, device=device))
    rows, columns = places[0].unsqueeze(2), places[1].unsqueeze(1)
    padded = F.pad(inputs, [padding] * 4)
    place = (rows * padded.shape[3] + columns).view(n, 1, -1)
    part = padded.flatten(2).gather(2, place.expand(-1, inputs.shape[1], -1)).view(n, -1, *size)
    part = part.contiguous(memory_format=torch.channels_last)  # convolutions on a CPU take it faster
    if masks is None:
        return part, None
    return part, F.pad(masks, [padding] * 4, value=IGNORED).flatten(1).gather(1, place[:, 0]).view(n, *size)
