"""Shared code of plots with many small images: captioned galleries, and signed values as colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from dlrun.drawing.fonts import Picture
from dlrun.drawing.style import GREY, INK, LETTER, RED, TEXT, WIDTH, both_ends, put_title, shown
from dlrun.errors import UserError
from dlrun.training.trained import Trained

EDGE = 0.08  # inches beside the pictures
HEAD, HEADING = 0.5, 0.38  # inches for the title, and for the line above a group of pictures
SMALLEST = 8.5  # points
SMALL, FILE = 7.5, 0.16  # points of a file name, and inches for it under a picture
SCALE = 0.42  # inches for the colour bar and its labels
SIGNED = colormaps["RdBu_r"]  # blue is negative, white 0, red positive


@dataclass(frozen=True)
class Captioned:
    """An image (height, width, 3) with its true and predicted class, an optional line below, its file."""

    picture: Tensor
    true: str
    said: str
    below: str = ""
    file: str = ""
    marked: bool = False


def refuse_other_inputs(trained: Trained, plot: str) -> None:
    """Raise UserError unless inputs are grey or RGB images."""
    shape = trained.data.shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        size = "×".join(map(str, shape))
        raise UserError(f"{plot} needs images, 1×height×width or 3×height×width, not inputs of {size}")


def as_pictures(inputs: Tensor, like: Tensor | None = None) -> Tensor:
    """Convert raw inputs (n, 1 or 3, height, width) to pictures (n, height, width, 3) from 0 to 1.

    They have the scale of the raw inputs `like`, by default their own; what lies beyond it is cut off.
    """
    images = inputs.float().movedim(1, -1).expand(-1, -1, -1, 3)
    like = inputs if like is None else like
    if like.dtype == torch.uint8:
        return (images / 255).clamp(0, 1)
    low, high = like.min().float(), like.max().float()
    return ((images - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)


def as_signed(values: Tensor, largest: float) -> Tensor:
    """Convert values from -largest to largest to pictures (…, height, width, 3).

    One channel (…, 1, height, width) becomes colours from blue to red; three channels (…, 3, height, width)
    become red, green and blue, with grey for 0.
    """
    shares = (values / (2 * (largest or 1.0)) + 0.5).clamp(0, 1)
    if shares.shape[-3] == 3:
        return shares.movedim(-3, -1)
    return torch.from_numpy(SIGNED(shares.squeeze(-3).numpy())[..., :3])


def letters_in(inches: float, size: float) -> int:
    """The number of letters of `size` points that fit into `inches`."""
    return int(72 * inches / (LETTER * size))


def page(height: float, title: str) -> tuple[Figure, Axes]:
    """A figure `height` inches high with a title, and axes over all of it in inches from the top left."""
    figure = Picture(figsize=(WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_autoscale_on(False)
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(height, 0)
    put_title(figure, title).set_y(1 - EDGE / height)
    return figure, axes


def draw_picture(
    axes: Axes, picture: Tensor, box: tuple[float, float, float, float], *, framed: bool = False
) -> None:
    """Draw a picture (height, width, 3) into a box (left, top, width, height) in inches."""
    left, top, width, height = box
    extent = (left, left + width, top + height, top)
    axes.imshow(picture.numpy(), extent=extent, aspect="auto", interpolation="nearest")
    edge, line = (RED, 3.0) if framed else (GREY, 0.5)
    axes.add_patch(Rectangle((left, top), width, height, facecolor="none", edgecolor=edge, linewidth=line))


def draw_scale(axes: Axes, top: float, ends: tuple[str, str], coloured: bool, what: str) -> None:
    """Draw a colour bar for `as_signed`, with the labels of both ends."""
    if coloured:
        text = f"{what}, in each of red, green and blue: {ends[0]} black, 0 grey, {ends[1]} full"
        axes.text(EDGE, top + 0.11, text, va="center", size=TEXT - 0.5, color=INK)
        return
    words = axes.text(EDGE, top + 0.11, f"{what}:  {ends[0]}", va="center", size=TEXT - 0.5, color=INK)
    left = EDGE + words.get_window_extent().width / axes.figure.dpi + 0.1
    shares = torch.linspace(-1, 1, 121).view(1, 1, -1)
    draw_picture(axes, as_signed(shares, 1.0), (left, top + 0.02, 1.8, 0.18))
    axes.text(left + 0.9, top + 0.11, "0", ha="center", va="center", size=TEXT - 0.5, color=INK)
    axes.text(left + 1.9, top + 0.11, ends[1], va="center", size=TEXT - 0.5, color=INK)


def gallery(
    title: str,
    groups: Sequence[tuple[str, Sequence[Captioned]]],
    columns: int,
    classes: Sequence[str],
    foot: float = 0.0,
) -> Figure:
    """Draw captioned images in rows of `columns`, in groups with headings, and leave `foot` inches below.

    The caption is one line, `true / predicted`, if the names of all classes are short enough for it.
    """
    cell = (WIDTH - 2 * EDGE) / columns
    longest = max(len(shown(name)) for name in classes)
    one_line = in_one_line(columns, classes)
    size = TEXT if one_line else max(SMALLEST, min(TEXT, TEXT * letters_in(cell, TEXT) / (longest + 2)))
    letters = max(5, letters_in(cell, size))
    pictures = [one for _, ones in groups for one in ones]
    lines = (1 if one_line else 2) + any(one.below for one in pictures)
    words = 0.18 * lines * size / TEXT + 0.04  # inches for the caption above each picture
    height, width = pictures[0].picture.shape[:2]
    side = 0.9 * cell * height / width
    under = FILE if any(one.file for one in pictures) else 0.0
    step = words + side + under + 0.06

    headings = [HEADING if heading else 0.1 for heading, _ in groups]
    rows = [-(-len(ones) // columns) for _, ones in groups]
    figure, axes = page(HEAD + EDGE + sum(headings) + sum(rows) * step + foot, title)
    y = HEAD
    for (heading, ones), room, deep in zip(groups, headings, rows, strict=True):
        axes.text(EDGE, y + 0.16, heading, va="top", size=TEXT, color=INK)
        y += room
        for place, one in enumerate(ones):
            left, top = EDGE + place % columns * cell, y + place // columns * step
            mark = "✗ " if one.marked else ""
            true, said = shown(one.true, letters), shown(one.said, letters - len(mark))
            text = f"{mark}{true} / {said}" if one_line else f"{true}\n{mark}{said}"
            text += f"\n{one.below}" if one.below else ""
            middle = (left + cell / 2, top + words - 0.03)
            caption = axes.text(*middle, text, ha="center", va="bottom", size=size, color=INK)
            caption.set_linespacing(1.05)
            if one.marked:
                caption.set(color=RED, weight="bold" if one_line else "normal")
            draw_picture(
                axes, one.picture, (left + 0.05 * cell, top + words, 0.9 * cell, side), framed=one.marked
            )
            if one.file:
                name = both_ends(one.file, letters_in(0.8 * cell, SMALL))
                below = (left + cell / 2, top + words + side + 0.03)
                axes.text(*below, name, ha="center", va="top", size=SMALL, color=GREY)
        y += deep * step
    return figure


def in_one_line(columns: int, classes: Sequence[str]) -> bool:
    """True if the caption `✗ true / predicted` of a gallery fits into one line."""
    longest = max(len(shown(name)) for name in classes)
    return letters_in((WIDTH - 2 * EDGE) / columns, TEXT) >= 2 * longest + 5
