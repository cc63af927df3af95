"""`dlrun predict`: the predictions of a trained model for new inputs: from files, or texts themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import lexists
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlrun.config.registry import Parts
from dlrun.data.columns import is_number, number
from dlrun.data.csv_files import read_table
from dlrun.data.examples import Data
from dlrun.data.images import image_files, printable, read_image
from dlrun.data.trees import Tree, main_outputs, mapped, single
from dlrun.errors import UserError
from dlrun.results.continuation import Continuations, Sampling, continued
from dlrun.results.predicted_images import PredictedImages, new_files, written_images
from dlrun.training.plan import Plan
from dlrun.training.trained import open_model, open_plan, outputs_for

_FILE_NAME = re.compile(r"\S+\.[A-Za-z]\w{0,4}")  # of a file, if there is none it is no text either


@dataclass(frozen=True)
class Predictions:
    """The outputs (copies, n, k) of every copy of the model for n inputs.

    `names` are those of the inputs, or if there are n · k those of the targets of each.
    """

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
        """A row for each name as `input`, with the prediction in the words of the task."""
        outputs = self.outputs
        names = self.names
        if len(names) == outputs[0].numel():
            outputs = outputs.reshape(len(outputs), len(names), 1)
        elif len(names) != outputs.shape[1]:  # of each target, but the outputs are no such estimates
            names = [f"input {number}" for number in range(1, outputs.shape[1] + 1)]
        return [{"input": name} | self.plan.task.row(outputs[:, index]) for index, name in enumerate(names)]


def predict_files(
    path: Path,
    given: Sequence[str | Path],
    parts: Parts,
    data_dir: Path,
    device: str | None = None,
    sampling: Sampling | None = None,
    out: Path | None = None,
    name: str = "predicted",
) -> Predictions | Continuations | PredictedImages:
    """Predict the inputs in some files with the model of a checkpoint; its training data is not needed.

    Of a model of texts an input may be given itself; one that continues texts does so by `sampling`.
    Predictions that are images are written into the folder `out`, by default NAME-masks or
    NAME-reconstructions in the working directory. Raises CheckpointRefused as evaluation does, UserError for
    a file or a text that the model cannot take, and for an image that would replace a file.
    """
    words = [f"device={device}"] if device else []
    plan, preprocessing, saved = open_plan(path, words, parts, data_dir)
    if sampling and not plan.task.continues:
        raise UserError("--length, --temperature and --seed are for a model that continues texts")
    if out and not plan.task.image_name:
        raise UserError("--out is for a model whose predictions are images")
    read = [_read(plan, each, is_alone=len(given) == 1) for each in given]
    names = [name for names, _ in read for name in names]
    files = []
    if plan.task.image_name:
        folder = out or Path(f"{name}-{plan.task.image_name}s")
        files = new_files(folder, [(Path(each), names) for each, (names, _) in zip(given, read, strict=True)])
    hardware = plan.hardware()
    model, epoch = open_model(plan, hardware, saved, path), saved.state["epoch"]
    if plan.task.continues:
        prompts = [ids for _, inputs in read for ids in single(inputs)]
        more = continued(plan, model, preprocessing, hardware, prompts, sampling or Sampling())
        return Continuations(plan, epoch, saved.digest, names, prompts, more)
    inputs = mapped(lambda *each: torch.cat(each), *(inputs for _, inputs in read))
    if plan.task.image_name:
        rows = written_images(plan, model, preprocessing, hardware, single(inputs), names, files)
        return PredictedImages(plan, epoch, saved.digest, rows)
    outputs = main_outputs(outputs_for(model, inputs, preprocessing, hardware, plan.recipe.evaluation_batch))
    return Predictions(plan, epoch, saved.digest, names, outputs)


def _read(plan: Plan, given: str | Path, *, is_alone: bool) -> tuple[list[str], Tree]:
    """Read a file or take a text; rows of several files are named with them, for each has a row 2."""
    text, path, data = str(given), Path(given), plan.data
    if data.encode and not (text and lexists(path)) and not _FILE_NAME.fullmatch(text):
        return [text], data.encode(text).unsqueeze(0)
    names, inputs = read_new_inputs(data, path)
    if is_alone or plan.task.continues or len(data.shape) not in (1, 2):
        return names, inputs
    return [f"{path.name}: {name}" for name in names], inputs


def read_new_inputs(data: Data, path: Path) -> tuple[list[str], Tree]:
    """Read the inputs in a file or folder: a name for each, and raw inputs (n, *input_shape).

    The dataset's own `read_new` reads them if it has one; otherwise inputs (channels, height, width) come
    from images, and vectors from the rows of a CSV file. Raises UserError for unreadable input.
    """
    if not path.exists():
        raise UserError(f"there is no file {printable(path)}")
    if data.read_new:
        found = data.read_new(path)
        if isinstance(found, tuple):
            return found
        pieces = list(found)
        inputs = mapped(lambda *each: torch.cat(each), *(piece.inputs for piece in pieces))
        return [name for piece in pieces for name in piece.names], inputs
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
    figures = torch.empty(len(table), size)
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
