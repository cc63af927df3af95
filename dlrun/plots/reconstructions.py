"""Images above their reconstructions."""

from __future__ import annotations

from math import ceil
from typing import Literal

import torch
from matplotlib.figure import Figure

from dlrun.config.options import Few, Seed
from dlrun.drawing.image_grids import EDGE, HEAD, as_pictures, draw_picture, page, refuse_other_inputs
from dlrun.drawing.style import INK, TEXT, WIDTH, headline
from dlrun.training.trained import Trained

task = "reconstruction"
of_estimates = True
automatic = True
inputs = "images"

LINE = 0.24  # inches for the loss below a reconstruction


def reconstructions(
    trained: Trained,
    *,
    split: Literal["auto", "train", "valid", "test"] = "auto",
    rows: Few = 3,
    columns: Few = 8,
    seed: Seed = 0,
) -> Figure:
    """Random images of a split, each above its reconstruction, whose loss stands below.

    Both have the scale of the image before preprocessing; what lies beyond it is cut off. The reconstructions
    are those of the first copy. Raises UserError unless inputs are grey or RGB images.

    Args:
        split: Split to show; auto: valid, or without it test, or train.
        rows: Rows of pairs in the picture.
        columns: Pairs in a row.
        seed: Random choice of the images.
    """
    refuse_other_inputs(trained, "reconstructions")
    chosen = trained.chosen(split)
    examples = trained.loaded[chosen]
    drawn = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed))[: rows * columns]
    raw = examples.raw(drawn)
    outputs, losses = trained.judged(chosen, drawn)
    restored = trained.loaded.preprocessing.undone(outputs[0].view(raw.shape))
    pairs = zip(as_pictures(raw), as_pictures(restored, like=raw), losses[0].tolist(), strict=True)

    cell = (WIDTH - 2 * EDGE) / columns
    height, width = trained.data.shape[1:]
    side = 0.94 * cell * height / width
    step = 2 * side + 0.03 + LINE + 0.06
    loss = trained.plan.loss
    said = "" if loss.is_batchwise else f", with its loss ({loss.name})"
    what = f"{chosen.capitalize()} images, drawn at random, each above its reconstruction{said}"
    title = headline(trained, what, trained.at_epoch(0), f"seed {trained.seeds[0]}")
    figure, axes = page(HEAD + 0.06 + ceil(len(drawn) / columns) * step, title)
    for place, (picture, again, figure_of_loss) in enumerate(pairs):
        left, top = EDGE + (place % columns + 0.03) * cell, HEAD + 0.06 + place // columns * step
        draw_picture(axes, picture, (left, top, 0.94 * cell, side))
        draw_picture(axes, again, (left, top + side + 0.03, 0.94 * cell, side))
        if not loss.is_batchwise:  # else it is that of all images together
            middle, below = left + 0.47 * cell, top + 2 * side + 0.06
            axes.text(middle, below, f"{figure_of_loss:#.3g}", ha="center", va="top", size=TEXT, color=INK)
    return figure
