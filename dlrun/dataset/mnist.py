"""Handwritten digits."""

from __future__ import annotations

from pathlib import Path

from dlrun.config.options import Fraction, Normalise, Seed
from dlrun.data.examples import Data
from dlrun.data.image_files.idx import idx_dataset

# The options that have an effect on a trained model; its checkpoint has settled the others.
at_evaluation = ()

CLASSES = tuple("0123456789")


def mnist(
    root: Path,
    *,
    normalise: Normalise = "unit",
    valid_fraction: Fraction = 0.0,
    seed: Seed = 0,
) -> Data:
    """Handwritten digits, 28×28 grey pixels.

    60,000 images to train on and 10,000 to test. Source: LeCun et al. 1998.

    Args:
        normalise: Scale of the pixels: unit from 0 to 1, half from -1 to 1, train with mean 0 and standard
            deviation 1 over the training images.
        valid_fraction: Share of the training images that becomes the validation split.
        seed: Random choice of the validation images.
    """
    return idx_dataset(root, "MNIST", CLASSES, normalise, valid_fraction, seed)
