"""Random images with their true and predicted classes."""

from __future__ import annotations

from typing import Literal

import torch
from matplotlib.figure import Figure

from dlrun.config.options import Few, Seed
from dlrun.drawing.image_grids import Captioned, as_pictures, gallery, in_one_line, refuse_other_inputs
from dlrun.drawing.style import headline, if_weighted, predicted
from dlrun.training.trained import Trained

task = "classification"
automatic = True
inputs = "images"


def predictions(
    trained: Trained,
    *,
    split: Literal["auto", "train", "valid", "test"] = "auto",
    rows: Few = 4,
    columns: Few = 8,
    seed: Seed = 0,
) -> Figure:
    """Random images of a split, each with its true and predicted class.

    The predictions are those of the first copy. Raises UserError unless inputs are images.

    Args:
        split: Split to show; auto: valid, or without it test, or train.
        rows: Rows of images in the picture.
        columns: Images in a row.
        seed: Random choice of the images.
    """
    refuse_other_inputs(trained, "predictions")
    chosen = trained.chosen(split)
    found = predicted(trained, chosen)
    said, targets = found.classes[0], found.targets
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    drawn = order[: rows * columns]

    names = trained.data.classes
    pictures = as_pictures(trained.loaded[chosen].raw(drawn))
    ones = [
        Captioned(picture, names[true], names[guess], marked=true != guess)
        for picture, true, guess in zip(pictures, targets[drawn].tolist(), said[drawn].tolist(), strict=True)
    ]
    heading = f"{len(drawn)} drawn at random: {int((said == targets)[drawn].sum())} right"
    order_said = "true / predicted" if in_one_line(columns, names) else "true class over predicted"
    reached = found.accuracy()[0]
    what = f"{chosen.capitalize()} images, {order_said}; accuracy {reached:.4g}"
    title = headline(trained, what, trained.at_epoch(0), f"seed {trained.seeds[0]}", if_weighted(trained))
    return gallery(title, [(heading, ones)], columns, names)
