"""Occlusion: the places of an image without which the predicted class is less probable."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dlrun.config.options import Few, Many, NonNegativeInt
from dlrun.data.trees import main_outputs
from dlrun.drawing.explained_images import explained_images, overlays
from dlrun.errors import UserError
from dlrun.training.copies import whole
from dlrun.training.trained import Trained

task = "classification"
inputs = "images"


def occlusion(
    trained: Trained,
    *,
    split: Literal["auto", "train", "valid", "test"] = "auto",
    images: Few = 3,
    image: NonNegativeInt | None = None,
    size: Many | None = None,
    stride: Many | None = None,
) -> Figure:
    """Occlusion: by how much the predicted class is less probable if a square of the image is covered.

    A pixel has the mean over all squares that cover it; where it is blue, the class is more probable without
    it. A square is filled with the image's mean in each channel. The model is the first copy. Zeiler and
    Fergus, 2013, arXiv 1311.2901.

    Args:
        split: Split to take images from; auto: valid, or without it test, or train.
        images: Errors to show, the most confident ones, and as many correct images, drawn at random.
        image: Number of the only image to show, from 0; null: errors and correct ones.
        size: Side of the square in pixels; null: a quarter of the shorter side of an image.
        stride: Pixels from one square to the next, at most `size`; null: half of `size`.
    """
    found = explained_images(trained, "occlusion", trained.chosen(split), images, image)
    side, step = square_and_step(found.inputs.shape[2:], size, stride)
    maps = found.of_each(partial(falls, trained, side, step))
    notes = [f"max {most:.2g}" for most in maps.abs().flatten(1).amax(1).tolist()]
    what = f"Occlusion by squares of {side} pixels, {step} apart"
    return overlays(trained, found, maps, what, "fall of the probability, per image:", notes)


def square_and_step(shape: Sequence[int], size: int | None, stride: int | None) -> tuple[int, int]:
    """The side and the stride of squares for images (height, width). Raises UserError if they do not fit."""
    side = size or max(1, min(shape) // 4)
    step = stride or max(1, side // 2)
    if side > min(shape):
        what = f"occlusion: a square of {side} pixels does not fit into images of {shape[0]}×{shape[1]}"
        raise UserError(what, fix="choose a smaller size")
    if step > side:
        what = f"occlusion: squares of {side} pixels, {step} apart, leave pixels uncovered"
        raise UserError(what, fix=f"choose a stride of at most {side}")
    return side, step


def falls(trained: Trained, side: int, step: int, inputs: Tensor, said: int) -> Tensor:
    """By how much the probability of a class falls, as the mean over the squares that cover a pixel.

    From a prepared image (1, channels, height, width) to (1, height, width).
    """
    height, width = inputs.shape[2:]
    corners = [(top, left) for top in starts(height, side, step) for left in starts(width, side, step)]
    squares = [(0, 0, 0), *((top, left, side) for top, left in corners)]  # the first covers nothing

    @torch.no_grad()
    def probabilities(piece: slice) -> Tensor:
        covered = inputs.repeat(len(squares[piece]), 1, 1, 1)
        for image, (top, left, edge) in zip(covered, squares[piece], strict=True):
            image[:, top : top + edge, left : left + edge] = inputs[0].mean((1, 2), keepdim=True)
        outputs = main_outputs(whole(model(covered)))
        return trained.decision.probabilities(outputs)[:, said].cpu().double()

    model = trained.model.eval().copies[0]
    size = trained.plan.recipe.evaluation_batch
    unchanged, *others = torch.cat(list(trained.hardware.in_pieces(len(squares), size, probabilities)))
    sums, counts = (torch.zeros(height, width, dtype=torch.float64) for _ in range(2))
    for (top, left), share in zip(corners, others, strict=True):
        sums[top : top + side, left : left + side] += unchanged - share
        counts[top : top + side, left : left + side] += 1
    return (sums / counts).unsqueeze(0)


def starts(length: int, side: int, step: int) -> list[int]:
    """The first pixels of squares along an axis, the last of which ends with the image."""
    return [*range(0, length - side, step), length - side]
