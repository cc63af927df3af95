"""The U-Net: a class for each pixel of an image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlrun.config.options import Count
from dlrun.data.examples import Data
from dlrun.errors import UserError


def unet(
    shape: tuple[int, ...],
    outputs: int,
    data: Data,
    *,
    channels: Count = 64,
    depth: Count = 4,
    batch_norm: bool = True,
) -> nn.Module:
    """A U-Net: images (batch, channels, height, width) -> (batch, outputs, height, width).

    Twice a 3×3 convolution and ReLU, then the same after each halving of the image by max pooling, and the
    way back up by 2×2 transposed convolutions, each joined with the features of its size on the way down.
    The last row or column of an odd size, which halving drops, is filled up with zeros. Source:
    Ronneberger et al. 2015, arXiv 1505.04597; unlike there, convolutions are padded, so that outputs are as
    large as the image, and can have batch normalisation.

    Args:
        channels: Kernels of the first convolutions; each halving of the image doubles them.
        depth: Times that the image is halved.
        batch_norm: Normalise over the batch before each ReLU (Ioffe and Szegedy 2015, arXiv 1502.03167).
    """
    if len(shape) != 3:
        raise UserError(f"it takes images, but the inputs are {'×'.join(map(str, shape))}")
    before, *sides = shape
    if data.places != tuple(sides):
        targets = "×".join(map(str, data.places)) or "a class of the whole image"
        raise UserError(
            f"it gives a class for each of {sides[0]}×{sides[1]} pixels, but the targets are {targets}",
            fix="take a dataset with a class for each pixel, or an architecture such as cnn",
        )
    most = min(sides).bit_length() - 1
    if depth > most:
        what = f"halving number {most + 1} leaves nothing of images of {sides[0]}×{sides[1]} pixels"
        raise UserError(what, fix=f"set depth to at most {most}" if most else "take larger images")
    return UNet(before, outputs, [channels * 2**level for level in range(depth + 1)], batch_norm)


class UNet(nn.Module):
    """The way down, which keeps its features, and the way up, which joins them; `widths` are the channels."""

    def __init__(self, channels: int, outputs: int, widths: list[int], batch_norm: bool) -> None:
        super().__init__()
        above = [channels, *widths]
        self.down = nn.ModuleList(convolutions(a, b, batch_norm) for a, b in zip(above, widths, strict=False))
        self.pool = nn.MaxPool2d(2)
        ways = [(2 * width, width) for width in reversed(widths[:-1])]
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in ways)
        self.up = nn.ModuleList(convolutions(a, b, batch_norm) for a, b in ways)
        self.head = nn.Conv2d(widths[0], outputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        x, kept = self.down[0](images), []
        for down in self.down[1:]:
            kept.append(x)
            x = down(self.pool(x))
        for enlarge, up in zip(self.enlarge, self.up, strict=True):
            same_size = kept.pop()
            x = up(torch.cat([same_size, filled_up(enlarge(x), same_size)], 1))
        outputs: Tensor = self.head(x)
        return outputs


def convolutions(before: int, after: int, batch_norm: bool) -> nn.Sequential:
    """Twice a 3×3 convolution, batch normalisation if wanted, and ReLU."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        # The normalisation would remove a bias.
        layers.append(nn.Conv2d(channels, after, 3, padding=1, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def filled_up(x: Tensor, like: Tensor) -> Tensor:
    """The features with zeros below and to the right, up to the height and width of `like`."""
    rows, columns = (like.shape[axis] - x.shape[axis] for axis in (-2, -1))
    return F.pad(x, (0, columns, 0, rows)) if rows or columns else x
