"""The weights of a softmax regression as an image for each class."""

from __future__ import annotations

from math import prod

from matplotlib.figure import Figure
from torch import Tensor, nn

from dlrun.config.options import Few
from dlrun.drawing.image_grids import (
    EDGE,
    HEAD,
    SCALE,
    as_signed,
    draw_picture,
    draw_scale,
    letters_in,
    page,
    refuse_other_inputs,
)
from dlrun.drawing.style import INK, TEXT, WIDTH, headline, shown
from dlrun.errors import UserError
from dlrun.training.trained import Trained

task = "classification"
automatic = True
inputs = "images"
model = "one layer"


def weights(trained: Trained, *, columns: Few = 5, most: Few = 20) -> Figure:
    """The weights of each class as an image (template): red pixels raise the class's logit if bright.

    All share one colour scale; they are those of the first copy. Raises UserError unless inputs are images
    and the model is one fully connected layer.

    Args:
        columns: Templates in a row of the picture.
        most: Classes to show, the first ones.
    """
    refuse_other_inputs(trained, "weights")
    shape = trained.data.shape
    found = templates(trained.model.copies[0], shape)
    classes = names = trained.data.classes
    coloured = shape[0] == 3
    largest = float(found.abs().max())
    pictures = as_signed(found[:most], largest)

    cell = (WIDTH - 2 * EDGE) / columns
    side = 0.94 * cell * shape[1] / shape[2]
    step = 0.22 + side + 0.1
    rows = -(-len(pictures) // columns)
    left_out = f"{most} of {len(found)} classes" if len(found) > most else ""
    what = "The weights of each class as an image"
    if len(found) == 1:  # one logit: the second class against the first
        names = ("",)
        what = f"The weights as an image: high for {shown(classes[1])}, low for {shown(classes[0])}"
    elif not coloured:
        what += ": red speaks for it, blue against it"
    seed = f"seed {trained.seeds[0]}"
    title = headline(trained, what, trained.at_epoch(0), left_out, seed)
    figure, axes = page(HEAD + 0.12 + rows * step + SCALE, title)
    for place, (picture, name) in enumerate(zip(pictures, names, strict=False)):
        left, top = EDGE + place % columns * cell, HEAD + 0.12 + place // columns * step
        said = shown(name, max(3, letters_in(cell, TEXT) - 2))
        axes.text(left + cell / 2, top + 0.18, said, ha="center", va="bottom", size=TEXT, color=INK)
        draw_picture(axes, picture, (left + 0.03 * cell, top + 0.22, 0.94 * cell, side))
    ends = (f"−{largest:.2g}", f"{largest:.2g}")
    draw_scale(axes, HEAD + 0.12 + rows * step + 0.06, ends, coloured, "weight")
    return figure


def templates(model: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """The weights of a model of one fully connected layer, (outputs, *input shape).

    Raises UserError if it has no such weight matrix.
    """
    size = prod(shape)
    for parameter in model.parameters():
        if parameter.dim() == 2 and size in parameter.shape:
            matrix = parameter if parameter.shape[1] == size else parameter.T
            return matrix.detach().float().cpu().reshape(-1, *shape)
    raise UserError(f"weights: the model has no weights of {size} inputs")
