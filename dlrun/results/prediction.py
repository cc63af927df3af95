"""`dlrun predict`: the predictions of a trained model for new inputs from files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlrun.config.registry import Parts
from dlrun.data.csv_files import is_number, number, read_table
from dlrun.data.examples import Data
from dlrun.data.images import image_files, printable, read_image
from dlrun.data.trees import Tree, main_outputs, mapped
from dlrun.errors import UserError
from dlrun.training.plan import Plan
from dlrun.training.trained import open_model, open_plan, outputs_for


@dataclass(frozen=True)
class Predictions:
    """The outputs (copies, n, k) of every copy of the model for n named inputs."""

    plan: Plan
    epoch: int
    digest: str  # of the checkpoint file
    names: list[str]
    outputs: Tensor

    @property
    def unit(self) -> str:
        """The unit of the predictions, if they are estimates of the target."""
        return self.plan.data.unit if self.plan.task.are_estimates else ""

    def rows(self) -> list[dict[str, Any]]:
        """A row for each input: its name as `input`, and the prediction in the words of the task."""
        return [
            {"input": name} | self.plan.task.row(self.outputs[:, index])
            for index, name in enumerate(self.names)
        ]


def predict_files(
    path: Path, files: Sequence[Path], parts: Parts, data_dir: Path, device: str | None = None
) -> Predictions:
    """Predict the inputs in some files with the model of a checkpoint; its training data is not needed.

    Raises CheckpointRefused as evaluation does, UserError for a file that the model cannot take.
    """
    words = [f"device={device}"] if device else []
    plan, preprocessing, saved = open_plan(path, words, parts, data_dir)
    read = [read_new_inputs(plan.data, file) for file in files]
    if len(files) > 1 and len(plan.data.shape) == 1:  # rows have no names of their own
        read = [
            ([f"{f.name}: {name}" for name in names], x) for f, (names, x) in zip(files, read, strict=True)
        ]
    hardware = plan.hardware()
    model = open_model(plan, hardware, saved, path)
    inputs = mapped(lambda *each: torch.cat(each), *(inputs for _, inputs in read))
    outputs = main_outputs(outputs_for(model, inputs, preprocessing, hardware, plan.recipe.evaluation_batch))
    names = [name for names, _ in read for name in names]
    return Predictions(plan, saved.state["epoch"], saved.digest, names, outputs)


def read_new_inputs(data: Data, path: Path) -> tuple[list[str], Tree]:
    """Read the inputs in a file or folder: a name for each, and raw inputs (n, *input_shape).

    The dataset's own `read_new` reads them if it has one; otherwise inputs (channels, height, width) come
    from images, and vectors from the rows of a CSV file. Raises UserError for unreadable input.
    """
    if not path.exists():
        raise UserError(f"there is no file {printable(path)}")
    if data.read_new:
        return data.read_new(path)
    if len(data.shape) == 3:
        return _images(data, path)
    if len(data.shape) == 1 and not data.has_whole_numbers():
        return _vectors(data, path)
    raise UserError(f"inputs of {data.said_shape} cannot be read from a file: this dataset reads no new ones")


def _images(data: Data, path: Path) -> tuple[list[str], Tensor]:
    channels, height, width = data.shape
    files = image_files(path) if path.is_dir() else [path]
    if not files:
        raise UserError("there are no images in this folder", where=printable(path))
    images = [read_image(file, height, width, channels, "pad") for file in files]
    return [printable(file) for file in files], torch.stack(images)


def _vectors(data: Data, path: Path) -> tuple[list[str], Tensor]:
    """Rows of numbers: the columns with the dataset's feature names if it has any, else all in order."""
    table = read_table(path)
    size = data.shape[0]
    named = bool(data.features) and set(data.features) <= set(table.columns)
    columns = data.features if named else table.columns
    if all(map(is_number, table.columns)):
        what = "the first row holds numbers, but must name the columns"
        raise UserError(what, where=f"{path}:1", fix="put a row of names before it")
    if len(columns) != size:
        what = f"its rows have {len(columns)} cells, but the model takes {size} figures"
        raise UserError(
            what, where=str(path), fix="the first row names the columns, and each further row is an input"
        )
    figures = torch.empty(len(table.rows), size)
    for index, column in enumerate(columns):
        for row, text in enumerate(table.column(column)):
            line = table.lines[row]
            try:
                value = number(text)
            except ValueError as error:
                raise UserError(f"row {line}, column {column}: {error}", where=f"{path}:{line}") from None
            if value is None:
                raise UserError(f"row {line}, column {column}: there is no value", where=f"{path}:{line}")
            figures[row, index] = value
    return [f"row {line}" for line in table.lines], figures
