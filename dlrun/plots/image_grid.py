"""Example images of each class."""

from __future__ import annotations

from typing import Literal

import torch
from matplotlib.figure import Figure

from dlrun.config.options import Few, Seed
from dlrun.drawing.image_grids import EDGE, HEAD, as_pictures, draw_picture, page, refuse_other_inputs
from dlrun.drawing.style import INK, LETTER, TEXT, WIDTH, headline, shown
from dlrun.training.trained import Trained

task = "classification"
inputs = "images"
of = "data"


def image_grid(
    trained: Trained,
    *,
    split: Literal["train", "valid", "test"] = "train",
    columns: Few = 8,
    most: Few = 20,
    seed: Seed = 0,
) -> Figure:
    """A row of random images for each class, and the class's number of examples.

    Raises UserError unless inputs are images.

    Args:
        split: Split to show.
        columns: Images in the row of a class.
        most: Classes to show, the first ones.
        seed: Random choice of the images.
    """
    refuse_other_inputs(trained, "image_grid")
    examples, classes = trained.loaded[split], trained.data.classes
    targets = examples.targets.cpu()
    counts = torch.bincount(targets, minlength=len(classes)).tolist()
    names = [shown(name, 15) for name in classes[:most]]
    letters = max(map(len, [*names, *(f"{count:,}" for count in counts)]))
    beside = 0.28 + letters * LETTER * TEXT / 72  # inches for the class names
    cell = (WIDTH - EDGE - beside) / columns
    height, width = trained.data.shape[1:]
    step = max(cell * height / width, 0.42)

    left_out = f"the first {most} of {len(classes)} classes" if len(classes) > most else ""
    fewest, largest = min(counts), max(counts)
    balance = f"{fewest:,}" if fewest == largest else f"{fewest:,} to {largest:,}"
    what = f"{len(targets):,} {split} images, {balance} of each class"
    figure, axes = page(HEAD + 0.12 + len(names) * step + EDGE, headline(trained, what, left_out))
    generator = torch.Generator().manual_seed(seed)
    for row, name in enumerate(names):
        members = (targets == row).nonzero().squeeze(1)
        drawn = members[torch.randperm(len(members), generator=generator)[:columns]]
        top = HEAD + 0.12 + row * step
        said = f"{name}\n{counts[row]:,}"
        axes.text(EDGE, top + step / 2, said, va="center", size=TEXT, color=INK, linespacing=1.1)
        for place, picture in enumerate(as_pictures(examples.raw(drawn))):
            side = 0.92 * cell * height / width
            draw_picture(axes, picture, (beside + place * cell, top + (step - side) / 2, 0.92 * cell, side))
    return figure
