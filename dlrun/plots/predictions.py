"""Images with what they are and what the model takes them for."""

from __future__ import annotations

from math import floor
from typing import Literal

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from dlrun.errors import UserError
from dlrun.evaluation import Trained
from dlrun.options import Count, Seed
from dlrun.plots._style import (
    GREY,
    INK,
    LETTER,
    RED,
    TEXT,
    WIDTH,
    accuracy,
    headline,
    predicted,
    put_title,
    shown,
)

task = "classification"
automatic = True
inputs = "images"

EDGE = 0.08  # inches beside the images
HEAD, HEADING = 0.5, 0.38  # inches for the title, and for the line above a group of images
SMALLEST = 8.5  # points


def predictions(
    trained: Trained,
    *,
    split: Literal["auto", "train", "valid", "test"] = "auto",
    rows: Count = 4,
    columns: Count = 8,
    seed: Seed = 0,
) -> Figure:
    """Images of a split, true / predicted: the upper half at random, the lower the surest mistakes.

    The predictions are those of the first copy. `split` auto is the evaluation split, or without one
    train; `seed` draws the images. Raises UserError unless inputs are images.
    """
    if len(trained.data.input_shape) != 3 or trained.data.input_shape[0] not in (1, 3):
        shape = "×".join(map(str, trained.data.input_shape))
        raise UserError(f"predictions needs images, 1×height×width or 3×height×width, not inputs of {shape}")
    chosen = trained.split if split == "auto" else split
    probabilities, targets = predicted(trained, chosen)
    sureness, said = probabilities[0].max(-1)
    wrong = (said != targets).nonzero().squeeze(1)
    mistakes = wrong[sureness[wrong].argsort(descending=True, stable=True)][: rows // 2 * columns]
    mistake_rows = -(-len(mistakes) // columns)
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    drawn = order[: (rows - mistake_rows) * columns]

    groups = [(f"{len(drawn)} drawn at random: {int((said == targets)[drawn].sum())} right", drawn)]
    if len(mistakes):
        least = floor(100 * float(sureness[mistakes].min())) / 100
        sure = f"given a probability of {least:.2f} or more"
        groups.append((f"The surest {len(mistakes)} of {len(wrong):,} mistakes, {sure}", mistakes))

    names = list(trained.data.classes)
    height, width = trained.data.input_shape[1:]
    cell = (WIDTH - 2 * EDGE) / columns
    longest = max(len(shown(name)) for name in names)
    one_line = letters_in(cell, TEXT) >= 2 * longest + 5  # `✗ true / predicted`
    size = TEXT if one_line else max(SMALLEST, min(TEXT, TEXT * letters_in(cell, TEXT) / (longest + 2)))
    letters = max(3, letters_in(cell, size) - 2)
    words = (0.2 if one_line else 0.36) * size / TEXT + 0.03  # inches above each image
    step = words + cell * 0.9 * height / width + 0.06

    total = HEAD + EDGE + sum(HEADING + -(-len(chosen_ones) // columns) * step for _, chosen_ones in groups)
    figure = Figure(figsize=(WIDTH, total))
    axes = figure.add_axes((0, 0, 1, 1))  # in inches, from the top left
    axes.set_axis_off()
    examples = trained.loaded[chosen]
    shown_inputs = examples.raw(torch.cat([ones for _, ones in groups]))
    pictures = iter(as_pictures(shown_inputs))
    y = HEAD
    for heading, ones in groups:
        axes.text(EDGE, y + 0.16, heading, va="top", size=TEXT, color=INK)
        y += HEADING
        for place, index in enumerate(ones.tolist()):
            left, top = EDGE + place % columns * cell, y + place // columns * step
            true, said_here = (shown(names[int(found[index])], letters) for found in (targets, said))
            right = bool(said[index] == targets[index])
            mark = "" if right else "✗ "
            text = f"{mark}{true} / {said_here}" if one_line else f"{true}\n{mark}{said_here}"
            below = (left + cell / 2, top + words - 0.03)
            title = axes.text(*below, text, ha="center", va="bottom", size=size, color=INK, linespacing=1.05)
            if not right:
                title.set(color=RED, weight="bold" if one_line else "normal")
            box = (left + 0.05 * cell, top + words, 0.9 * cell, 0.9 * cell * height / width)
            draw_image(axes, next(pictures), box, framed=not right)
        y += -(-len(ones) // columns) * step
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(total, 0)
    order_said = "true / predicted" if one_line else "true class over predicted"
    reached = accuracy(probabilities[:1], targets)[0]
    what = f"{chosen.capitalize()} images, {order_said}; accuracy {reached:.4g}"
    lines = headline(trained, what, f"epoch {trained.epoch:,}", f"seed {trained.seeds[0]}")
    put_title(figure, lines).set_y(1 - EDGE / total)
    return figure


def letters_in(inches: float, size: float) -> int:
    """How many letters of a size (points) stand side by side in some inches."""
    return int(72 * inches / (LETTER * size))


def as_pictures(inputs: Tensor) -> Tensor:
    """Raw inputs (n, 1 or 3, height, width) as (n, height, width, 3) from 0 to 1."""
    images = inputs.float().movedim(1, -1).expand(-1, -1, -1, 3)
    if inputs.dtype == torch.uint8:
        return images / 255
    low, high = images.min(), images.max()
    return (images - low) / (high - low).clamp_min(1e-12)


def draw_image(axes: Axes, picture: Tensor, box: tuple[float, float, float, float], *, framed: bool) -> None:
    """A picture (height, width, 3) in a box: left, top, width, height in inches."""
    left, top, width, height = box
    axes.imshow(picture.numpy(), extent=(left, left + width, top + height, top), aspect="auto")
    edge, line = (RED, 3.0) if framed else (GREY, 0.5)
    axes.add_patch(Rectangle((left, top), width, height, facecolor="none", edgecolor=edge, linewidth=line))
