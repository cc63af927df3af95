"""New images that look unlike all training images, such as dark on white where those are light on black."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from dlrun.data.examples import Data, Split, in_pieces
from dlrun.errors import first_few

Range = tuple[float, float]  # the smallest and the largest figure of a training image
Ranges = Mapping[str, Range]

# The far figure and its range of each image that has one, by the number of the image.
FarFigures = dict[int, dict[str, tuple[float, Range]]]

IMAGE_RANGES = "image_ranges"  # the entry of a checkpoint
_VALUES = "values"  # the range of all pixels
_LOOKED_AT = 10_000  # training images
_MARGIN = 0.5  # widths of a figure's range that are usual beyond it
_LEAST = 0.05  # of the range of all pixels: that much is usual beyond the range of any figure
_SHOWN = 3


def image_figures(images: Tensor) -> dict[str, Tensor]:
    """The looks of images (n, channels, height, width), each (n,) in the unit of their values.

    The brightness is the mean, the contrast the deviation; the edge is the outermost pixels; the roughness is
    the mean difference of neighbours.
    """
    some = images.float()
    edges = some[:, :, 0], some[:, :, -1], some[..., 0], some[..., -1]
    return {
        "brightness": some.flatten(1).mean(1),
        "contrast": some.flatten(1).std(1, correction=0),
        "brightness of the edge": torch.cat([edge.flatten(1) for edge in edges], 1).mean(1),
        "roughness": (some[..., 1:] - some[..., :-1]).abs().flatten(1).mean(1),
    }


def ranges_of_images(data: Data, training: Split) -> dict[str, list[float]]:
    """The range of each figure over the training images, for a checkpoint; {} of other inputs."""
    if len(data.shape) != 3 or min(data.shape[1:]) < 2:
        return {}
    places = torch.linspace(0, len(training) - 1, min(_LOOKED_AT, len(training))).long()
    ends: dict[str, list[float]] = {}
    for piece in in_pieces(training, places):
        images = training.raw(piece)
        for name, values in (image_figures(images) | {_VALUES: images.flatten().float()}).items():
            low, high = (float(end) for end in values.aminmax())
            before = ends.get(name, [low, high])
            ends[name] = [min(before[0], low), max(before[1], high)]
    return ends if all(isfinite(end) for each in ends.values() for end in each) else {}


def ranges_in(saved: Any) -> dict[str, Range]:
    """The ranges that an untrusted checkpoint holds; {} if it has none that make sense, as one of before."""
    names = {*image_figures(torch.zeros(1, 1, 2, 2)), _VALUES}
    if not isinstance(saved, dict) or saved.keys() != names:
        return {}
    for ends in saved.values():
        if not isinstance(ends, list) or len(ends) != 2 or not all(type(end) is float for end in ends):
            return {}
        if not (isfinite(ends[0]) and ends[0] <= ends[1] < float("inf")):
            return {}
    return {name: (ends[0], ends[1]) for name, ends in saved.items()}


class FarImages:
    """The new images that lie far outside the training images, collected piece by piece."""

    def __init__(self, ranges: Ranges) -> None:
        self._ranges = {name: ends for name, ends in ranges.items() if name != _VALUES}
        self._values = ranges.get(_VALUES, (0.0, 0.0))
        self.count = self._inverted = 0
        self._first: list[str] = []

    def found(self, images: Tensor, names: Sequence[str]) -> FarFigures:
        """The far figures of some images (n, channels, height, width), which are noted with their names."""
        if not self._ranges or not len(images):
            return {}
        far = self._far(images)
        ends = 255.0 if images.dtype == torch.uint8 else sum(self._values)
        inverted = self._far(ends - images.float()) if far else {}
        for place, figures in far.items():
            self.count += 1
            self._inverted += "brightness" in figures and "brightness" not in inverted.get(place, {})
            name, (value, (low, high)) = next(iter(figures.items()))
            self._first.append(f"{names[place]} ({name} {value:.4g}; training: {low:.4g} to {high:.4g})")
        del self._first[_SHOWN:]
        return far

    def _far(self, images: Tensor) -> FarFigures:
        """The figures beyond an end of their range by more than is usual of a new image."""
        found: FarFigures = {}
        least = _LEAST * (self._values[1] - self._values[0])
        for name, values in image_figures(images).items():
            low, high = self._ranges[name]
            margin = max(_MARGIN * (high - low), least)
            for place in ((values < low - margin) | (values > high + margin)).nonzero()[:, 0].tolist():
                found.setdefault(place, {})[name] = (float(values[place]), (low, high))
        return found

    @property
    def notes(self) -> list[str]:
        """A note on them with the remedy, if there are any."""
        return [str(self)] if self.count else []

    def __str__(self) -> str:
        lie, them = ("image lies", "it") if self.count == 1 else ("images lie", "them")
        fix = f"the model has seen nothing like {them}"
        if self._inverted == self.count:
            fix = f"invert {them}: light and dark are the other way round than in training"
        elif self._inverted:
            fix = (
                f"invert {self._inverted:,} of them: light and dark are the other way round than in training"
            )
        shown = first_few(self._first, _SHOWN, total=self.count)
        return f"{self.count:,} {lie} far outside the training images: {shown}; {fix}"
