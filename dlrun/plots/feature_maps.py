"""Feature maps: the outputs of the convolutions for one image."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any, Literal

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from dlrun.config.options import Few, Many, NonNegativeInt
from dlrun.drawing.convolutions import convolutions_of
from dlrun.drawing.image_grids import (
    EDGE,
    HEAD,
    HEADING,
    SCALE,
    as_pictures,
    as_signed,
    draw_picture,
    draw_scale,
    page,
    refuse_other_inputs,
)
from dlrun.drawing.style import INK, TEXT, WIDTH, headline, probability, shown
from dlrun.errors import UserError
from dlrun.training.trained import Trained

automatic = True
inputs = "images"
model = "convolution"

COLUMNS = 8


def feature_maps(
    trained: Trained,
    *,
    split: Literal["auto", "train", "valid", "test"] = "auto",
    image: NonNegativeInt = 0,
    most: Many = 16,
    layers: Few = 4,
) -> Figure:
    """One image of a split and the outputs of the first convolutions, before the activation.

    They are those of the first copy. Raises UserError unless inputs are images, the model has a convolution
    and the split has such an image.

    Args:
        split: Split to take the image from; auto: valid, or without it test, or train.
        image: Number of the image in the split, from 0.
        most: Maps to show of each convolution.
        layers: Convolutions to show, the first ones.
    """
    refuse_other_inputs(trained, "feature_maps")
    chosen = trained.chosen(split)
    examples = trained.loaded[chosen]
    if image >= len(examples):
        raise UserError(f"feature_maps: there is no image {image:,} among the {len(examples):,} of {chosen}")
    every = convolutions_of(trained, "feature_maps")
    maps = maps_of(trained, chosen, image, every[:layers])

    height, width = trained.data.shape[1:]
    cell = (WIDTH - 2 * EDGE) / COLUMNS
    steps = [cell * found.shape[1] / found.shape[2] for found in maps]
    rows = [ceil(min(len(found), most) / COLUMNS) for found in maps]
    side = 1.7 * cell
    y = HEAD + 0.14
    total = y + side * height / width + sum(HEADING + r * s for r, s in zip(rows, steps, strict=True)) + SCALE
    after = f"the first {layers} of {len(every)} convolutions" if len(every) > layers else "each convolution"
    what = f"{chosen.capitalize()} image {image:,} and its maps after {after}"
    title = headline(trained, what, trained.at_epoch(0), f"seed {trained.seeds[0]}")
    figure, axes = page(total, title)
    draw_picture(
        axes,
        as_pictures(examples.raw(torch.tensor([image])))[0],
        (EDGE + 0.05 * cell, y, side, side * height / width),
    )
    axes.text(
        side + 0.3, y + side * height / width / 2, about(trained, chosen, image), va="center", size=TEXT
    )
    y += side * height / width
    for number, (found, deep, step) in enumerate(zip(maps, rows, steps, strict=True), 1):
        size = f"{found.shape[1]}×{found.shape[2]}"
        some = f", the first {most}" if len(found) > most else ""
        largest = float(found.abs().max())
        heading = f"Convolution {number}: {len(found)} maps of {size}{some}, up to ± {largest:.2g}"
        axes.text(EDGE, y + 0.16, heading, va="top", size=TEXT, color=INK)
        y += HEADING
        for place, picture in enumerate(as_signed(found[:most].unsqueeze(1), largest)):
            left, top = EDGE + place % COLUMNS * cell, y + place // COLUMNS * step
            draw_picture(axes, picture, (left + 0.05 * cell, top + 0.05 * step, 0.9 * cell, 0.9 * step))
        y += deep * step
    draw_scale(axes, total - SCALE + 0.06, ("negative", "positive"), False, "each convolution on its scale")
    return figure


@torch.no_grad()
def maps_of(trained: Trained, split: str, image: int, layers: Sequence[nn.Module]) -> list[Tensor]:
    """The outputs of some layers of the first copy for one example: (maps, height, width) of each."""
    found: dict[nn.Module, Tensor] = {}

    def keep(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        found[layer] = output[0].float().cpu()

    trained.model.eval()
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    try:
        place = torch.tensor([image], device=trained.hardware.device)
        trained.model.copies[0](trained.loaded[split].batch(place)[0])
    finally:
        for hook in hooks:
            hook.remove()
    return [found[layer] for layer in layers]


def about(trained: Trained, split: str, image: int) -> str:
    """The true and the predicted class of an image in words; "" if it has none as a whole."""
    if trained.plan.task.decision is None or trained.data.places:
        return ""
    examples, names = trained.loaded[split], trained.data.classes
    outputs = trained.outputs_at(examples.raw(torch.tensor([image])))[0, 0]
    said = int(trained.decision.decide(outputs))
    share = trained.decision.probabilities(outputs)[said]
    guess = f"predicted: {shown(names[said])}, probability {probability(share)}"
    return f"true class: {shown(names[examples.targets[image]])}\n{guess}"
