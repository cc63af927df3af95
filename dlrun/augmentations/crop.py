"""Random crops of padded images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dlrun.blocks.places import IGNORED
from dlrun.config.options import Count


def crop(
    inputs: Tensor, masks: Tensor | None, generator: torch.Generator, *, padding: Count = 4
) -> tuple[Tensor, Tensor | None]:
    """Shift each image (n, channels, height, width) at random.

    Pixels from outside the image are 0 after preprocessing, and do not count in masks.

    Args:
        padding: Largest shift up, down, left and right, in pixels.
    """
    n, _, height, width = inputs.shape
    if padding > max(height, width):
        raise ValueError(f"padding of {padding:,} pixels is more than the image has")
    shifts = torch.randint(2 * padding + 1, (2, n), generator=generator, device=inputs.device)
    rows = shifts[0].view(n, 1, 1) + torch.arange(height, device=inputs.device).view(1, height, 1)
    columns = shifts[1].view(n, 1, 1) + torch.arange(width, device=inputs.device).view(1, 1, width)
    image = torch.arange(n, device=inputs.device).view(n, 1, 1)
    shifted = F.pad(inputs, [padding] * 4)[image, :, rows, columns].permute(0, 3, 1, 2)
    if masks is None:
        return shifted, None
    return shifted, F.pad(masks, [padding] * 4, value=IGNORED)[image, rows, columns]
