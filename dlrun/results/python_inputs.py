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
from dlrun.data.trees import first_of
from dlrun.errors import UserError, shortened
from dlrun.results.prediction import meant_inputs, read_inputs, with_far
from dlrun.training.plan import Plan


def python_inputs(plan: Plan, far_images: FarImages, given: Any) -> list[NewInputs]:
    """Inputs for a model as `dlrun predict` reads them, or as tensors (n, *input shape).

    A data frame is read like a CSV file of its cells, and images of Pillow like image files. Raises UserError
    for what the model cannot take.
    """
    if isinstance(given, str | Path):
        return [*_read(plan, far_images, [given])]
    if hasattr(given, "to_csv") or hasattr(given, "write_csv"):
        with TemporaryDirectory(prefix="dlrun-frame-") as folder:
            path = Path(folder, "frame.csv")
            _write_frame(given, path)
            return [*_read(plan, far_images, [path])]
    if isinstance(given, Sequence) and given and all(isinstance(each, str | Path) for each in given):
        return [*_read(plan, far_images, given)]
    if hasattr(given, "save") or (isinstance(given, Sequence) and given and hasattr(given[0], "save")):
        images = given if isinstance(given, Sequence) else [given]
        with TemporaryDirectory(prefix="dlrun-images-") as folder:
            paths = [Path(folder, f"image {number}.png") for number in range(1, len(images) + 1)]
            for image, path in zip(images, paths, strict=True):
                image.save(path)
            return [*_read(plan, far_images, paths)]
    inputs = _tensors(plan.data, given)
    names = [f"input {number}" for number in range(1, len(first_of(inputs)) + 1)]
    piece = NewInputs(names, inputs)
    return [with_far(piece, far_images) if len(plan.data.shape) == 3 and names else piece]


def _read(plan: Plan, far_images: FarImages, given: Sequence[str | Path]) -> Iterator[NewInputs]:
    every = [meant for each in given for meant in meant_inputs(plan.data, each)]
    for each in every:
        yield from read_inputs(plan, far_images, each, is_alone=len(every) == 1)


def _write_frame(frame: Any, path: Path) -> None:
    """Write a DataFrame of pandas or polars as a CSV file."""
    if hasattr(frame, "to_csv"):
        frame.to_csv(path, index=False)
    else:
        frame.write_csv(path)


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
