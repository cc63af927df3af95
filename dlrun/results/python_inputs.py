"""Inputs that Python gives for prediction: tensors, arrays, data frames, images, files and texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from dlrun.data.examples import Data, NewInputs
from dlrun.data.image_files.far_images import FarImages
from dlrun.data.trees import at, first_of, named_leaves
from dlrun.errors import UserError, shortened
from dlrun.results.prediction import meant_inputs, read_inputs, with_far
from dlrun.training.plan import Plan


def python_inputs(plan: Plan, far_images: FarImages, given: Any) -> list[NewInputs]:
    """Inputs for a model as `dlrun predict` reads them, or as tensors (n, *input shape).

    A data frame is read like a CSV file of its cells, and images of Pillow like image files. An input with a
    number that is not finite is refused alone. Raises UserError for what the model cannot take.
    """
    if isinstance(given, str | Path):
        return [*_read(plan, far_images, [given])]
    if hasattr(given, "to_csv") or hasattr(given, "write_csv"):
        return _of_frame(plan, far_images, given)
    if hasattr(given, "getexif"):
        given = [given]
    if isinstance(given, Sequence) and given and all(_is_file_or_image(each) for each in given):
        with TemporaryDirectory(prefix="dlrun-images-") as folder:
            named = [_image_file(each, Path(folder), number) for number, each in enumerate(given, 1)]
            return [*_read(plan, far_images, named)]
    inputs = _tensors(plan.data, given)
    refuse_unknown_ids(plan.data, inputs)
    names = [f"input {number}" for number in range(1, len(first_of(inputs)) + 1)]
    are_finite = torch.stack([own.isfinite().flatten(1).all(1) for _, own in named_leaves(inputs, "")]).all(0)
    refused = dict.fromkeys((~are_finite).nonzero()[:, 0].tolist(), "it has a number that is not finite")
    piece = NewInputs(names, at(inputs, are_finite), refused)
    return [with_far(piece, far_images) if len(plan.data.shape) == 3 and are_finite.any() else piece]


def _of_frame(plan: Plan, far_images: FarImages, frame: Any) -> list[NewInputs]:
    """The inputs in a DataFrame of pandas or polars."""
    with TemporaryDirectory(prefix="dlrun-frame-") as folder:
        path = Path(folder, "data frame.csv")
        if hasattr(frame, "to_csv"):
            frame.to_csv(path, index=False)
        else:
            frame.write_csv(path)
        try:
            return [*_read(plan, far_images, [path])]
        except UserError as error:
            error.where = error.where.replace(str(path), "the data frame as CSV")
            raise


def _is_file_or_image(given: Any) -> bool:
    return isinstance(given, str | Path) or hasattr(given, "getexif")


def _image_file(given: Any, folder: Path, number: int) -> str | Path:
    """A file or a text itself, or the file into which an image of Pillow is written, as it is shown."""
    if isinstance(given, str | Path):
        return given
    from PIL import ImageOps

    shown, path = ImageOps.exif_transpose(given), folder / f"image {number}.png"
    if shown.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"):  # those that PNG has
        if shown.mode == "F":
            raise UserError(
                f"image {number} has pixels of floats, which no image file has", fix="give arrays"
            )
        shown = shown.convert("RGB")
    shown.save(path)
    return path


def _read(plan: Plan, far_images: FarImages, given: Sequence[str | Path]) -> Iterator[NewInputs]:
    every = [meant for each in given for meant in meant_inputs(plan.data, each)]
    for each in every:
        yield from read_inputs(plan, far_images, each, is_alone=len(every) == 1)


def _tensors(data: Data, given: Any) -> Any:
    """Tensors of the types that the model takes, (n, *input shape). Raises UserError for other shapes."""
    if isinstance(data.input_shape, tuple):
        return _tensor(given, data.input_shape, is_whole=data.has_whole_numbers())
    if not isinstance(given, Mapping) or given.keys() != data.shapes.keys():
        names = ", ".join(map(repr, data.shapes))
        raise UserError(f"the model takes several inputs: give a dict of {names}")
    found = {
        name: _tensor(given[name], shape, is_whole=data.has_whole_numbers(name), name=name)
        for name, shape in data.shapes.items()
    }
    if len({len(each) for each in found.values()}) > 1:
        lengths = ", ".join(f"{len(each):,} of {name}" for name, each in found.items())
        raise UserError(f"the inputs are of different lengths: {lengths}")
    return found


def _tensor(given: Any, shape: tuple[int, ...], *, is_whole: bool, name: str = "") -> Tensor:
    whose = f"the input {name}" if name else "the input"
    try:
        found = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError) as error:
        what = f"{whose} is no array of numbers: {shortened(error)}"
        fix = "give a tensor, an array, a data frame, images, or the names of files"
        raise UserError(what, fix=fix) from None
    if tuple(found.shape[1:]) != tuple(shape) or found.dim() != len(shape) + 1:
        wanted = ", ".join(["n", *map(str, shape)])
        what = f"{whose} has the shape {tuple(found.shape)}, and the model takes ({wanted})"
        is_single = tuple(found.shape) == tuple(shape)
        raise UserError(what, fix="give a batch of one: x[None]" if is_single else "")
    if is_whole and found.is_floating_point():
        raise UserError(f"{whose} has fractions, and the model takes whole numbers, such as token ids")
    return found.long() if is_whole else found.to(torch.float32)


def refuse_unknown_ids(data: Data, inputs: Any) -> None:
    """Raise UserError for ids of tokens that the vocabulary of the data does not have."""
    for name, own in named_leaves(inputs, ""):
        if data.vocabulary and data.has_whole_numbers(name) and own.numel():
            least, most = int(own.min()), int(own.max())
            if least < 0 or most >= len(data.vocabulary):
                what = (
                    f"the ids are {least} to {most}, and the vocabulary has 0 to {len(data.vocabulary) - 1}"
                )
                raise UserError(what)
