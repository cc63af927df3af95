"""Shared code of architectures that take vectors: images are flattened or refused."""

from __future__ import annotations

from math import prod

from dlrun.errors import UserError


def vector_size(shape: tuple[int, ...], flatten: bool) -> int:
    """The length of an input as a vector. Raises UserError for an image unless `flatten` is set."""
    if len(shape) != 1 and not flatten:
        size = "×".join(map(str, shape))
        raise UserError(f"it takes vectors, but the inputs are {size}", fix="set flatten: true")
    return prod(shape)
