"""Weights that somebody publishes for a model, with the preprocessing of the images they were learnt on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedWeights:
    """A file of weights to download.

    `mean` and `deviation` of each colour are those by which pixels from 0 to 1 were standardised.
    """

    url: str
    file: str  # its name in the data folder
    sha256: str  # the digest of the file, or the first digits; "" if nobody publishes it
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    size: tuple[int, int] | None = None  # height and width in pixels; None if the model takes any
