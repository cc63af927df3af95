"""Generated images of ten symbols, filled with a texture or sketched with a pen."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import pi
from pathlib import Path
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor

from dlrun.blocks.outlines import RADII
from dlrun.config.options import Count, Fraction, NonNegative, Normalise, Seed
from dlrun.data.examples import Data, Examples
from dlrun.data.image_files.pixels import FITS
from dlrun.errors import UserError
from dlrun.system.randomness import generator

# The options that have an effect on a trained model; its checkpoint has settled the others.
at_evaluation = ("images", "test_images", "domain", "noise")

_MOST_PIXELS = 2**27  # of all images
_AT_ONCE = 2**18  # pixels that are drawn together


def symbols(
    root: Path,
    *,
    domain: Literal["filled", "sketched"] = "filled",
    images: Count = 400,
    test_images: Count = 200,
    size: Annotated[int, Ge(16), Le(512)] = 32,
    noise: NonNegative = 0.05,
    normalise: Normalise = "train",
    valid_fraction: Fraction = 0.0,
    seed: Seed = 0,
) -> Data:
    """Generated colour images of ten symbols, in one of two domains.

    Classes are disc, triangle, square, pentagon, star, cross, flower, bar, gear and bow. Places, sizes,
    proportions and directions are random. In the domain filled a symbol is a patch of one texture on another;
    sketched, it is drawn with a pen on light paper. Both show the same forms, so that a model that knows
    one domain learns the other from few images.

    Args:
        domain: Look of the images: filled with a texture, or sketched with a pen.
        images: Images of each class to train on.
        test_images: Images of each class to test on.
        size: Side of an image in pixels.
        noise: Standard deviation of the noise on each pixel, where black is 0 and white 1.
        normalise: Scale of the pixels: unit from 0 to 1, half from -1 to 1, train with mean 0 and standard
            deviation 1 over the training images.
        valid_fraction: Share of the training images that becomes the validation split.
        seed: Random images, and the choice of the validation images.
    """
    if (pixels := (images + test_images) * len(RADII) * size**2) > _MOST_PIXELS:
        raise UserError(f"the images have {pixels:,} pixels, more than {_MOST_PIXELS:,}", fix="take fewer")
    draw = partial(drawn, domain=domain, size=size, noise=noise)
    piece = max(1, _AT_ONCE // size**2)  # images

    def some(count: int, number: int) -> Examples:
        stream = generator(f"symbols {domain}", seed, number)
        classes = torch.arange(len(RADII)).repeat(count)  # in turn, so that any first ones are of all classes
        pictures = torch.cat([draw(own, stream) for own in classes.split(piece)])
        return Examples(pictures, classes)

    return Data(
        task="classification",
        input_shape=(3, size, size),
        classes=tuple(RADII),
        read=lambda: {"train": some(images, 0), "test": some(test_images, 1)},
        fit=FITS[normalise],
        valid_fraction=valid_fraction,
        seed=seed,
        synthetic=True,
    )


def drawn(classes: Tensor, stream: torch.Generator, *, domain: str, size: int, noise: float) -> Tensor:
    """Draw an image of each class number (n,), as (n, 3, size, size) uint8."""
    n = len(classes)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(n, *shape, 1, 1, generator=stream)

    radius = uniform(0.45, 0.8)
    places = (torch.arange(size) + 0.5) / size * 2 - 1  # of pixels, from -1 to 1
    x, y = (axis - (1 - radius) * uniform(-1, 1) for axis in (places.view(1, 1, -1), places.view(1, -1, 1)))
    angle, stretch = uniform(-pi / 8, pi / 8), uniform(0.85, 1.15)
    u, v = (x * angle.cos() + y * angle.sin()) * stretch, (y * angle.cos() - x * angle.sin()) / stretch
    direction, distance = torch.atan2(v, u), torch.hypot(u, v) / radius
    edges = torch.stack([edge(direction[number]) for number, edge in _edges_of(classes)])
    beyond = distance / edges - 1  # of the edge: below 0 inside, 0 on it
    if domain == "filled":
        inside = (beyond < 0).unsqueeze(1)
        pictures = torch.where(inside, _texture(uniform, x, y), _texture(uniform, x, y))
    else:
        width = uniform(0.05, 0.11) / radius
        line = ((width - beyond.abs()) * size / 6).clamp(0, 1).unsqueeze(1)
        pen, paper = uniform(0.0, 0.35, 3), uniform(0.8, 1.0, 3)
        pictures = line * pen + (1 - line) * paper
    grain = noise * torch.randn(n, 3, size, size, generator=stream)
    return ((pictures + grain) * 255).round().clamp(0, 255).to(torch.uint8)


def _edges_of(classes: Tensor) -> list[tuple[int, Callable[[Tensor], Tensor]]]:
    """The place of each image with the edge of its symbol."""
    every = list(RADII.values())
    return [(place, every[number]) for place, number in enumerate(classes.tolist())]


def _texture(uniform: Callable[..., Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Stripes of two colours (n, 3, size, size), of random direction, width and contrast."""
    angle, rate = uniform(0, pi), uniform(2, 14)
    waves = (rate * (x * angle.cos() + y * angle.sin()) + uniform(0, 2 * pi)).sin().unsqueeze(1)
    return uniform(0.0, 1.0, 3) + uniform(-0.3, 0.3, 3) * waves
