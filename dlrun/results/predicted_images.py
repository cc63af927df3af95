"""Predictions that are images, written as PNG files: masks of classes, and reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from os.path import lexists
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from dlrun.data.image_files.reading import upright_size
from dlrun.data.image_files.resizing import at_full_size
from dlrun.data.preparation import Preparation
from dlrun.data.trees import Tree, expanded, main_outputs, mapped
from dlrun.errors import UserError
from dlrun.system.files import ANOTHER_OUT, make_folder, write_atomically
from dlrun.training.copies import Copies, as_tensor
from dlrun.training.hardware import Hardware
from dlrun.training.plan import Plan
from dlrun.training.trained import outputs_for

CUT_OFF = 255  # in a mask: the model has not seen this pixel, which was cut off as the image was resized


@dataclass(frozen=True)
class PredictedImages:
    """The rows of some inputs, each with the file of its image."""

    plan: Plan
    epoch: int
    digest: str  # of the checkpoint file
    found: list[dict[str, Any]]
    unit: str = ""

    def rows(self) -> list[dict[str, Any]]:
        """A row for each name as `input`, with the file of its image, and shares of classes or a loss."""
        return self.found


def new_files(folder: Path, given: Sequence[tuple[Path, Sequence[str]]]) -> list[Path]:
    """The PNG files in a folder for the named inputs of each given file or folder.

    They have the place that the input has in its folder; of several with one name the later ones have a
    number. Raises UserError if one of them is there already.
    """
    chosen: list[Path] = []
    taken = set()
    for source, names in given:
        for name in map(Path, names):
            is_below = source.is_dir() and name.is_relative_to(source)
            below = name.relative_to(source) if is_below else Path(name.name)
            file, number = folder / below.with_suffix(".png"), 1
            while str(file).lower() in taken:  # some systems take A.png and a.png for one
                number += 1
                file = folder / below.with_name(f"{below.stem}-{number}.png")
            taken.add(str(file).lower())
            chosen.append(file)
    if there := [file for file in chosen if lexists(file)]:
        more = len(there) - 1
        others = f" and {more:,} other{'s' * (more > 1)}" if more else ""
        fix = f"delete what is there, or {ANOTHER_OUT}"
        raise UserError(f"{there[0]}{others} would be replaced", fix=fix)
    return chosen


def written_images(
    plan: Plan,
    model: Copies,
    preprocessing: Preparation,
    hardware: Hardware,
    inputs: Tensor,
    names: Sequence[str],
    files: Sequence[Path],
) -> list[dict[str, Any]]:
    """Predict raw inputs (n, …), write the image of each to its file, and give their rows.

    Raises UserError if there are more classes than a mask can hold, or if inputs are no pixels from 0 to 255.
    """
    task, size = plan.task, plan.recipe.evaluation_batch
    is_mask = bool(plan.data.places)
    if is_mask and len(plan.data.classes) > CUT_OFF:
        raise UserError(f"a mask holds at most {CUT_OFF} classes, but the model has {len(plan.data.classes)}")
    if not is_mask and (inputs.dtype != torch.uint8 or inputs.shape[1] not in (1, 3)):
        raise UserError("reconstructions can only be written of grey or RGB images of pixels from 0 to 255")

    def compute(piece: slice) -> tuple[Tensor, Tensor | None]:
        some = inputs[piece]
        outputs = outputs_for(model, some, preprocessing, hardware, size)
        losses = None if is_mask else _losses(plan, model, preprocessing, hardware, some, outputs)
        return main_outputs(outputs), losses

    rows = list[dict[str, Any]]()
    for main, losses in hardware.in_pieces(len(inputs), size, compute):
        for index in range(main.shape[1]):
            name, file = names[len(rows)], files[len(rows)]
            found = task.image_of(main[:, index])
            row: dict[str, Any] = {"input": name, task.image_name: str(file)}
            if is_mask:
                sides = upright_size(name)
                mask = found if sides is None else at_full_size(found, sides, plan.data.resize, CUT_OFF)
                image = _with_palette(mask, plan.data.classes)
                row["shares"] = _shares(mask, plan.data.classes)
            else:
                image = _of_pixels(preprocessing.undone(found))
                row |= {} if losses is None else {"loss": float(losses[index])}
            make_folder(file.parent, ANOTHER_OUT)
            write_atomically(file, partial(image.save, format="PNG"), ANOTHER_OUT)
            rows.append(row)
    return rows


@torch.no_grad()
def _losses(
    plan: Plan,
    model: Copies,
    preprocessing: Preparation,
    hardware: Hardware,
    inputs: Tensor,
    outputs: Tree,
) -> Tensor | None:
    """The loss (n,) of each reconstruction, a mean over copies; None if it is that of a whole batch."""
    if plan.loss.is_batchwise:
        return None
    targets = preprocessing.to(hardware.device, plan.dtype)(inputs.to(hardware.device))
    there = mapped(lambda own: own.to(hardware.device), outputs)
    own = expanded(targets, len(model.seeds))  # a reconstruction's targets are its inputs
    losses = model.losses(plan.recipe.loss, there, *plan.recipe.judged(own, own))
    return as_tensor(losses).mean(0).cpu()


def _shares(mask: Tensor, classes: Sequence[str]) -> dict[str, float]:
    """The share of each class in the pixels of a mask (height, width) that the model has seen."""
    counts = torch.bincount(mask[mask != CUT_OFF], minlength=len(classes)).double()
    return dict(zip(classes, (counts / counts.sum()).tolist(), strict=True))


def _with_palette(mask: Tensor, classes: Sequence[str]) -> Image.Image:
    """An image of class numbers (height, width), which viewers show in the colours of the plot `masks`."""
    from dlrun.drawing.style import class_colours  # here, because matplotlib takes long to import

    colours = b"".join(bytes.fromhex(colour[1:]) for colour in class_colours(classes))
    image = Image.fromarray(mask.to(torch.uint8).numpy())
    image.putpalette(colours.ljust(3 * CUT_OFF, b"\0") + b"\xff\xff\xff")
    return image


def _of_pixels(pixels: Tensor) -> Image.Image:
    """The image of pixels (1 or 3, height, width); what lies beyond 0 to 255 is cut off."""
    whole = pixels.round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(whole.movedim(0, -1).contiguous().numpy() if len(whole) == 3 else whole[0].numpy())
