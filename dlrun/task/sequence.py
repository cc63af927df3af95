"""A class at each position of a sequence, such as the next token of a text."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dlrun.blocks.places import ClassAtPlaces
from dlrun.blocks.tasks import LossPart
from dlrun.data.examples import Data

parts_of = "classification"


def sequence(data: Data, loss: LossPart) -> Sequence:
    """A class for each position; targets are class numbers (n, length), -100 where none counts."""
    return Sequence(data, loss)


class Sequence(ClassAtPlaces):
    """The outputs are (n, classes, length).

    If the dataset decodes ids, the class at each position is the next token, and a model continues texts.
    """

    metrics = ("accuracy", "perplexity")
    places_name = "positions"

    def __init__(self, data: Data, loss: LossPart) -> None:
        super().__init__(data, loss)
        self.continues = data.decode is not None

    def row(self, outputs: Tensor) -> dict[str, Any]:
        """The `classes` at all positions, as the copies predict them together."""
        return {"classes": [self.data.classes[number] for number in self.decided(outputs).tolist()]}
