"""Grey levels: the values of images of more than 8 bits, and how they become bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

Levels = tuple[float, float]  # the values that become 0 and 255
SIXTEEN_BITS: Levels = (0.0, 65535.0)
_SAMPLED = 2**16  # pixels of an image, from which its usual values are found


@dataclass(frozen=True)
class Spread:
    """The smallest and the largest value of some images, and those between which 98 % of each one's lie."""

    low: float
    usual_low: float
    usual_high: float
    high: float
    is_whole: bool  # whole numbers

    @classmethod
    def of(cls, pieces: Iterator[np.ndarray]) -> Spread | None:
        """The spread of the values of an image, which come in pieces; None if none is a finite number."""
        found, sampled, is_whole = list[Levels](), list[np.ndarray](), True
        for piece in pieces:
            is_whole = is_whole and piece.dtype.kind in "iu"
            values = piece if is_whole else piece[np.isfinite(piece)]
            if values.size:
                found.append((float(values.min()), float(values.max())))
                sampled.append(values.ravel()[:: max(1, values.size // _SAMPLED)])
        if not found:
            return None
        low, high = min(low for low, _ in found), max(high for _, high in found)
        usual = np.percentile(np.concatenate(sampled), (1, 99))
        return cls(low, float(usual[0]), float(usual[1]), high, is_whole)

    @classmethod
    def of_all(cls, each: Sequence[Spread]) -> Spread | None:
        """The spread of some images, of which 5 % may be unusual; None of none."""
        if not each:
            return None
        return cls(
            min(one.low for one in each),
            float(np.percentile([one.usual_low for one in each], 5, method="higher")),
            float(np.percentile([one.usual_high for one in each], 95, method="lower")),
            max(one.high for one in each),
            all(one.is_whole for one in each),
        )

    @property
    def levels(self) -> Levels:
        return self.low, self.high

    def used(self, levels: Levels) -> float:
        """The share of the grey levels that the usual values have."""
        inside = min(self.usual_high, levels[1]) - max(self.usual_low, levels[0])
        return max(0.0, inside) / (levels[1] - levels[0]) if levels[1] > levels[0] else 0.0


def is_deep(image: Image.Image) -> bool:
    """True if an image has one value of more than 8 bits for each pixel."""
    return image.mode.startswith("I") or image.mode == "F"


def strips(image: Image.Image, most: int) -> Iterator[np.ndarray]:
    """The values of a loaded image in strips (rows, width) of about `most` pixels, from the top."""
    rows = max(1, most // image.width)
    for top in range(0, image.height, rows):
        yield np.asarray(image.crop((0, top, image.width, min(image.height, top + rows))))


def as_bytes(values: np.ndarray, levels: Levels) -> np.ndarray:
    """The values as uint8: the first level becomes 0, the second 255, and what lies outside is clipped.

    Raises ValueError if a value is no number.
    """
    if values.dtype.itemsize == 2 and values.dtype.kind == "u":
        found: np.ndarray = _table(levels)[values]
        return found
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("some of its values are not finite numbers")
    return _scaled(values, levels)


@lru_cache(4)
def _table(levels: Levels) -> np.ndarray:
    """The byte of each of the values of 16 bits."""
    return _scaled(np.arange(2**16), levels)


def _scaled(values: np.ndarray, levels: Levels) -> np.ndarray:
    low, high = levels
    factor = 255 / (high - low) if high > low else 0.0
    scaled: np.ndarray = np.rint((values.astype(np.float64) - low) * factor).clip(0, 255).astype(np.uint8)
    return scaled


def said_levels(levels: Sequence[float]) -> str:
    """The two levels in words: `0 to 4095`."""
    return f"{levels[0]:.6g} to {levels[1]:.6g}"
