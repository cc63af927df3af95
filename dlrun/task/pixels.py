"""A class for each pixel of an image: semantic segmentation."""

from __future__ import annotations

from torch import Tensor

from dlrun.blocks.places import ClassAtPlaces
from dlrun.blocks.tasks import LossPart
from dlrun.data.examples import Data

parts_of = "classification"


def pixels(data: Data, loss: LossPart) -> Pixels:
    """A class for each pixel; targets are class numbers (n, height, width), -100 where none counts."""
    return Pixels(data, loss)


class Pixels(ClassAtPlaces):
    """The outputs are (n, classes, height, width)."""

    metrics = ("accuracy", "iou")
    plots = ("masks",)
    image_name = "mask"
    places_name = "pixels"

    def image_of(self, outputs: Tensor) -> Tensor:
        return self.decided(outputs)
