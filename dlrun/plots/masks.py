"""Images with the true and the predicted class of each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Literal

import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from dlrun.blocks.places import IGNORED
from dlrun.config.options import Few, Seed
from dlrun.drawing.image_grids import (
    EDGE,
    HEAD,
    as_pictures,
    draw_picture,
    letters_in,
    page,
    refuse_other_inputs,
)
from dlrun.drawing.style import CLASS_COLOURS, GREY, INK, TEXT, WIDTH, class_colours, headline, shown
from dlrun.training.trained import Trained

task = "pixels"
automatic = True
inputs = "images"

OTHERS = CLASS_COLOURS[-1]  # the colour of classes that have none of their own
LINE = 0.22  # inches for a line of words
MARK = 0.62  # inches in front of and behind the name of a class in the legend


def masks(
    trained: Trained,
    *,
    split: Literal["auto", "train", "valid", "test"] = "auto",
    rows: Few = 4,
    seed: Seed = 0,
) -> Figure:
    """Random images, each with the true and the predicted class of its pixels, and the wrong ones in black.

    The predictions are those of the first copy. Pixels that do not count are white in the true mask. Of more
    than ten classes the nine most frequent ones in the picture have colours, and the others are grey. Raises
    UserError unless inputs are grey or RGB images.

    Args:
        split: Split to show; auto: valid, or without it test, or train.
        rows: Images to show, one in a row.
        seed: Random choice of the images.
    """
    refuse_other_inputs(trained, "masks")
    chosen = trained.chosen(split)
    examples, names = trained.loaded[chosen], trained.data.classes
    drawn = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed))[:rows]
    raw, targets = examples.raw(drawn), examples.targets.cpu()[drawn]
    said = trained.decision.decide(trained.outputs_at(raw)[0].movedim(1, -1))
    counts = targets != IGNORED
    wrong = (said != targets) & counts
    coloured = most_frequent(torch.cat([said.flatten(), targets[counts]]), names)
    colours = class_colours([names[k] for k in coloured])
    pictures = as_pictures(raw)
    pale = 1 - 0.3 * (1 - pictures.mean(-1, keepdim=True).expand(-1, -1, -1, 3))

    marks = [
        Patch(facecolor=colour, label=shown(names[k])) for k, colour in zip(coloured, colours, strict=True)
    ]
    if left_out := len(names) - len(coloured):
        marks.append(Patch(facecolor=OTHERS, label=f"{left_out} other classes"))
    if not bool(counts.all()):
        marks.append(Patch(facecolor="white", edgecolor=GREY, linewidth=0.5, label="does not count"))
    letters = max(len(str(mark.get_label())) for mark in marks)
    columns = max(1, (letters_in(WIDTH - 2 * EDGE, TEXT)) // (letters + letters_in(MARK, TEXT)))
    below = ceil(len(marks) / columns) * LINE + 0.1

    cell = (WIDTH - 2 * EDGE) / 4
    height, width = trained.data.shape[1:]
    side = 0.96 * cell * height / width
    what = f"{len(drawn)} of {len(examples):,} {chosen} images, drawn at random"
    title = headline(trained, what, trained.at_epoch(0), f"seed {trained.seeds[0]}")
    step = LINE + side + 0.04
    figure, axes = page(HEAD + 0.1 + len(drawn) * step + 0.06 + below, title)
    of_class = torch.tensor([to_rgb(OTHERS)] * len(names))
    of_class[torch.tensor(coloured)] = torch.tensor([to_rgb(colour) for colour in colours])
    truth = torch.where(counts.unsqueeze(-1), of_class[targets.clamp_min(0)], torch.ones(3))
    missed = torch.where(wrong.unsqueeze(-1), torch.tensor(to_rgb(INK)), pale)
    shares = wrong.sum((1, 2)) / counts.sum((1, 2))
    for row, each in enumerate(zip(pictures, truth, of_class[said], missed, strict=True)):
        top = HEAD + 0.1 + row * step
        headings = ["image", "true", "predicted", "wrong: "] if not row else ["", "", "", ""]
        headings[3] += f"{100 * float(shares[row]):.1f} %" if bool(counts[row].any()) else "no pixel counts"
        for column, (picture, heading) in enumerate(zip(each, headings, strict=True)):
            left = EDGE + (column + 0.02) * cell
            middle = left + 0.48 * cell
            axes.text(middle, top + LINE - 0.04, heading, ha="center", va="bottom", size=TEXT, color=INK)
            draw_picture(axes, picture, (left, top + LINE, 0.96 * cell, side))
    axes.legend(
        handles=marks,
        loc="lower left",
        bbox_to_anchor=(0.0, 0.0),
        ncols=columns,
        frameon=False,
        fontsize=TEXT,
        labelcolor=INK,
        handlelength=1.0,
        handleheight=1.0,
        columnspacing=1.2,
        borderaxespad=0.3,
    )
    return figure


def most_frequent(classes: Tensor, names: Sequence[str]) -> list[int]:
    """The classes that have a colour, sorted: all if there are ten at most, else the nine most frequent."""
    if len(names) <= len(CLASS_COLOURS):
        return list(range(len(names)))
    frequencies = torch.bincount(classes, minlength=len(names))
    chosen: list[int] = frequencies.argsort(descending=True, stable=True)[: len(CLASS_COLOURS) - 1].tolist()
    return sorted(chosen)
