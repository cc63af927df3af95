"""The outlines of ten symbols: the radius of each in a direction (radians), about 1 at most."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import cos, pi

import torch
from torch import Tensor


def _disc(direction: Tensor) -> Tensor:
    return torch.full_like(direction, 0.9)


def _regular(corners: int, direction: Tensor) -> Tensor:
    part = 2 * pi / corners
    return cos(part / 2) / (torch.remainder(direction + pi / 2, part) - part / 2).cos()


def _rectangle(width: float, height: float, direction: Tensor) -> Tensor:
    sides = width / direction.cos().abs().clamp_min(1e-6), height / direction.sin().abs().clamp_min(1e-6)
    return torch.minimum(*sides)


def _star(direction: Tensor) -> Tensor:
    return 0.42 + 0.58 * (1 - torch.remainder(direction + pi / 2, 2 * pi / 5).sub(pi / 5).abs() * 5 / pi).pow(
        1.5
    )


def _cross(direction: Tensor) -> Tensor:
    return torch.maximum(_rectangle(1.0, 0.32, direction), _rectangle(0.32, 1.0, direction))


def _flower(direction: Tensor) -> Tensor:
    return 0.72 + 0.28 * (6 * direction).cos()


def _gear(direction: Tensor) -> Tensor:
    return 0.85 + 0.13 * (8 * (9 * direction).sin()).tanh()


def _bow(direction: Tensor) -> Tensor:
    return 0.6 + 0.4 * (2 * direction).cos()


RADII: dict[str, Callable[[Tensor], Tensor]] = {
    "disc": _disc,
    "triangle": partial(_regular, 3),
    "square": partial(_regular, 4),
    "pentagon": partial(_regular, 5),
    "star": _star,
    "cross": _cross,
    "flower": _flower,
    "bar": partial(_rectangle, 1.0, 0.38),
    "gear": _gear,
    "bow": _bow,
}
