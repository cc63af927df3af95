"""The operations of which policies of augmentation are made, such as AutoAugment: for each image one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from dlrun.blocks.chosen_examples import change_chosen
from dlrun.blocks.colours import blended, greyed, has_colours, mean_grey
from dlrun.blocks.pixel_grids import centres, grid_of, look_up_chosen
from dlrun.blocks.tones import autocontrasted, equalised, inverted, posterised, sharpened, solarised

Space = Mapping[str, tuple[float, float]]  # operations, with the amounts at magnitude 0 and 1
NO_AMOUNT = (0.0, 0.0)


def space(
    shear: float, translate: tuple[float, float], rotate: float, factor: float, bits: tuple[int, int]
) -> dict[str, tuple[float, float]]:
    """The operations that policies share.

    Given are the largest tangent of a shear, the farthest ways right and down in pixels, the largest angle in
    degrees, the largest distance of a factor from 1, and the bits that are kept at magnitude 0 and 1.
    """
    return {
        "identity": NO_AMOUNT,
        "shear_x": (0, shear),
        "shear_y": (0, shear),
        "translate_x": (0, translate[0]),
        "translate_y": (0, translate[1]),
        "rotate": (0, rotate),
        "brightness": (0, factor),
        "saturation": (0, factor),
        "contrast": (0, factor),
        "sharpness": (0, factor),
        "posterise": bits,
        "solarise": (1, 0),
        "autocontrast": NO_AMOUNT,
        "equalise": NO_AMOUNT,
    }


def usual_space(rows: int, columns: int) -> dict[str, tuple[float, float]]:
    """The operations and amounts of AutoAugment, which RandAugment took over, for images of a size."""
    widest = 150 / 331  # the papers' 150 pixels of images of 331
    return space(0.3, (widest * columns, widest * rows), 30.0, 0.9, (8, 4))


def operated(
    pixels: Tensor,
    masks: Tensor | None,
    operations: Space,
    which: Tensor,
    magnitude: Tensor,
    sign: Tensor,
) -> tuple[Tensor, Tensor | None]:
    """Each image (n, 1 or 3, height, width) after the operation `which` (n,) by number, -1 for none.

    Its magnitude (n,) is from 0 to 1; the sign (n,) is the way of moves and factors. Pixels from outside the
    image are black, and do not count in masks (n, height, width). Grey images have no saturation.
    """
    can = CHANGES.keys() if has_colours(pixels) else CHANGES.keys() - {"saturation"}
    pixels, masks = pixels.clone(), None if masks is None else masks.clone()
    rows, columns = pixels.shape[2:]
    is_moved, moves = torch.zeros_like(which, dtype=torch.bool), unmoved(magnitude)
    for number, (name, (first, last)) in enumerate(operations.items()):
        chosen, amount = which == number, first + (last - first) * magnitude
        if name in MOVES:
            is_moved |= chosen
            moves = torch.where(chosen.unsqueeze(1), MOVES[name](sign * amount, rows, columns), moves)
        elif name in can:
            change_chosen(pixels, chosen, CHANGES[name], 1 + sign * amount if name in FACTORS else amount)
    look_up_chosen(pixels, masks, is_moved, moved, moves)
    return pixels, masks


def moved(size: Sequence[int], moves: Tensor) -> Tensor:
    """The grid (n, height, width, 2) of images that are moved, each by its own of the moves (n, 6).

    A pixel at column x and row y from the centre comes from column a x + b y + c and row d x + e y + f.
    """
    rows, columns = size
    a, b, c, d, e, f = moves.t().unsqueeze(2).unsqueeze(3)
    y = centres(rows, moves.device).view(1, -1, 1) - rows / 2
    x = centres(columns, moves.device).view(1, 1, -1) - columns / 2
    return grid_of(size, d * x + e * y + (f + rows / 2), a * x + b * y + (c + columns / 2))


def unmoved(like: Tensor) -> Tensor:
    """The moves (n, 6) of images that stay where they are."""
    moves = torch.zeros(len(like), 6, device=like.device)
    moves[:, 0] = moves[:, 4] = 1
    return moves


def sheared_x(tangent: Tensor, rows: int, columns: int) -> Tensor:
    """The moves (n, 6) that shift each row by its distance from the upper edge."""
    moves = unmoved(tangent)
    moves[:, 1], moves[:, 2] = tangent, tangent * rows / 2
    return moves


def sheared_y(tangent: Tensor, rows: int, columns: int) -> Tensor:
    """The moves (n, 6) that shift each column by its distance from the left edge."""
    moves = unmoved(tangent)
    moves[:, 3], moves[:, 5] = tangent, tangent * columns / 2
    return moves


def translated(entry: int, way: Tensor, rows: int, columns: int) -> Tensor:
    """The moves (n, 6) by so many whole pixels, to the right with entry 2, down with entry 5."""
    moves = unmoved(way)
    moves[:, entry] = -way.trunc()
    return moves


def rotated(degrees: Tensor, rows: int, columns: int) -> Tensor:
    """The moves (n, 6) that turn images about their centres, counterclockwise."""
    moves = unmoved(degrees)
    moves[:, 0] = moves[:, 4] = degrees.deg2rad().cos()
    moves[:, 3] = degrees.deg2rad().sin()
    moves[:, 1] = -moves[:, 3]
    return moves


MOVES: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "shear_x": sheared_x,
    "shear_y": sheared_y,
    "translate_x": partial(translated, 2),
    "translate_y": partial(translated, 5),
    "rotate": rotated,
}
FACTORS = {"brightness", "saturation", "contrast", "sharpness"}
CHANGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": lambda images, factor: blended(images, None, factor),
    "saturation": lambda images, factor: blended(images, greyed(images), factor),
    "contrast": lambda images, factor: blended(images, mean_grey(images), factor),
    "sharpness": sharpened,
    "posterise": lambda images, bits: posterised(images, bits.round()),
    "solarise": solarised,
    "autocontrast": lambda images, _: autocontrasted(images),
    "equalise": lambda images, _: equalised(images),
    "invert": lambda images, _: inverted(images),
}
