"""Generated images of discs, squares and triangles, with a class for each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import pi, sqrt, tan
from pathlib import Path
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor

from dlrun.config.options import Count, Few, Fraction, NonNegative, Normalise, Seed
from dlrun.data.examples import Data, Examples
from dlrun.data.image_files.pixels import FITS
from dlrun.errors import UserError
from dlrun.system.randomness import generator

# The options that have an effect on a trained model; its checkpoint has settled the others.
at_evaluation = ("images", "test_images", "most", "noise")

CORNERS = {"disc": 0, "square": 4, "triangle": 3}
MOST_PIXELS = 2**27  # of all images: their targets take 8 bytes each
AT_ONCE = 2**18  # pixels that are drawn together


def shapes(
    root: Path,
    *,
    images: Count = 600,
    test_images: Count = 200,
    size: Annotated[int, Ge(8), Le(1024)] = 32,
    classes: Sequence[Literal["disc", "square", "triangle"]] = ("disc", "square", "triangle"),
    most: Few = 3,
    colour: bool = False,
    noise: NonNegative = 0.1,
    normalise: Normalise = "train",
    valid_fraction: Fraction = 0.0,
    seed: Seed = 0,
) -> Data:
    """Generated images of discs, squares and triangles, with a class for each pixel.

    Places, directions and sizes are random, and each shape is lighter or darker than the background. A later
    shape covers an earlier one, and corners may lie outside of the image. Areas are drawn alike for all
    classes, so that they say nothing about the class.

    Args:
        images: Images to train on.
        test_images: Images to test on.
        size: Side of an image in pixels.
        classes: Kinds of shapes, numbered from 1; class 0 is the background.
        most: Shapes on an image: from one up to so many.
        colour: Draw in red, green and blue, each lighter or darker by itself; false: in grey.
        noise: Standard deviation of the noise on each pixel, where black is 0 and white 1.
        normalise: Scale of the pixels: unit from 0 to 1, half from -1 to 1, train with mean 0 and standard
            deviation 1 over the training images.
        valid_fraction: Share of the training images that becomes the validation split.
        seed: Random images, and the choice of the validation images.
    """
    if not classes or len(set(classes)) < len(classes):
        what = f"classes are {list(classes)}, but must be one or more different ones"
        raise UserError(what, fix=f"take some of {', '.join(CORNERS)}")
    if (images + test_images) * size**2 > MOST_PIXELS:
        what = f"{images + test_images:,} images of {size}×{size} pixels are more than {MOST_PIXELS:,} pixels"
        raise UserError(what, fix="take fewer or smaller ones")
    draw = partial(drawn, size=size, kinds=classes, most=most, channels=3 if colour else 1, noise=noise)

    piece = max(1, AT_ONCE // size**2)  # images

    def some(count: int, number: int) -> Examples:
        stream = generator("shapes", seed, number)
        each = [draw(min(piece, count - first), stream) for first in range(0, count, piece)]
        pictures, targets = (torch.cat(own) for own in zip(*each, strict=True))
        return Examples(pictures, targets)

    return Data(
        task="pixels",
        input_shape=(3 if colour else 1, size, size),
        places=(size, size),
        classes=("background", *classes),
        read=lambda: {"train": some(images, 0), "test": some(test_images, 1)},
        fit=FITS[normalise],
        valid_fraction=valid_fraction,
        seed=seed,
        synthetic=True,
    )


def drawn(
    n: int,
    stream: torch.Generator,
    *,
    size: int,
    kinds: Sequence[str],
    most: int,
    channels: int,
    noise: float,
) -> tuple[Tensor, Tensor]:
    """Draw n images (n, channels, size, size) uint8, and the class of each pixel (n, size, size)."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(n, *shape, generator=stream)

    ground = uniform(0.3, 0.7, channels)
    pictures = ground.view(n, channels, 1, 1).expand(-1, -1, size, size)
    targets = torch.zeros(n, size, size, dtype=torch.long)
    counts = torch.randint(1, most + 1, (n,), generator=stream)
    for number in range(most):
        kind = torch.randint(len(kinds), (n,), generator=stream)
        radius = uniform(size / 8, size / 4)
        centre = radius.unsqueeze(1) + (size - 2 * radius).unsqueeze(1) * uniform(0, 1, 2)
        angle = uniform(0, 2 * pi)
        sign = uniform(-1, 1, channels).sign()
        level = ground + sign * uniform(0.2, 0.4, channels)
        inside = torch.zeros(n, size, size, dtype=torch.bool)
        for place, name in enumerate(kinds):
            own = kind == place
            inside[own] = within(CORNERS[name], size, centre[own], radius[own], angle[own])
        inside &= (number < counts).view(n, 1, 1)
        targets = torch.where(inside, (kind + 1).view(n, 1, 1), targets)
        pictures = torch.where(inside.unsqueeze(1), level.view(n, channels, 1, 1), pictures)
    noisy = pictures + noise * torch.randn(pictures.shape, generator=stream)
    return (255 * noisy).round().clamp(0, 255).to(torch.uint8), targets


def within(corners: int, size: int, centre: Tensor, radius: Tensor, angle: Tensor) -> Tensor:
    """The pixels (n, size, size) inside of a disc (of 0 corners) or of a regular polygon of the same area.

    `centre` (n, 2) is x and y, `radius` (n,) that of the disc, `angle` (n,) the direction of a side's middle.
    """
    middles = torch.arange(size) + 0.5  # of the pixels
    x = middles.view(1, 1, -1) - centre[:, 0].view(-1, 1, 1)
    y = middles.view(1, -1, 1) - centre[:, 1].view(-1, 1, 1)
    if not corners:
        return x.square() + y.square() <= radius.square().view(-1, 1, 1)
    # The area of a polygon with the inscribed radius a is corners · a² · tan(π / corners).
    inscribed = radius.view(-1, 1, 1) * sqrt(pi / (corners * tan(pi / corners)))
    inside = torch.ones(len(radius), size, size, dtype=torch.bool)
    for side in range(corners):
        towards = angle.view(-1, 1, 1) + 2 * pi * side / corners
        inside &= x * towards.cos() + y * towards.sin() <= inscribed
    return inside
