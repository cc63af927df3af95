"""`dlrun predict`: the predictions of a trained model for new inputs: from files, or texts themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from os.path import lexists
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlrun.config.registry import Parts
from dlrun.data.examples import EVALUATION_BATCH, Data, FarValue, NewInputs
from dlrun.data.image_files.far_images import IMAGE_RANGES, FarImages, ranges_in
from dlrun.data.image_files.finding import image_files, printable
from dlrun.data.image_files.reading import read_image
from dlrun.data.preparation import Preparation
from dlrun.data.table_files.columns import is_number, number
from dlrun.data.table_files.csv_files import read_table
from dlrun.data.table_files.joined_files import files_of, is_pattern
from dlrun.data.table_files.tables import EVERY_COLUMN
from dlrun.data.trees import MAIN, first_of, main_outputs, mapped, single
from dlrun.errors import RunFailed, UserError, in_full
from dlrun.results.continuation import Continuations, Sampling, continued
from dlrun.results.mistaken_inputs import mistaken_input
from dlrun.results.predicted_images import PredictedImages, new_files, written_images
from dlrun.system.file_names import meant_file
from dlrun.training.calibration import Calibration, calibration_of, divide
from dlrun.training.checkpoint import Checkpoint
from dlrun.training.checkpoint_entries import WhichWeights
from dlrun.training.copies import Copies
from dlrun.training.hardware import Hardware
from dlrun.training.opening import open_model, open_plan
from dlrun.training.plan import Plan
from dlrun.training.test_time_augmentation import View, Views, averaged_over, views_of
from dlrun.training.thresholds import decided_by
from dlrun.training.trained import outputs_for

PROBLEM = "problem"  # the entry of a row without a prediction
FAR = "far_outside"  # the entry of a row with numbers far outside the training examples
_FILE_NAME = re.compile(r"\S+\.[A-Za-z]\w{0,4}")  # of a file, if there is none it is no text either


@dataclass(frozen=True)
class Predictions:
    """The outputs (copies, n, k) of every copy of the model for n inputs.

    `names` are those of the inputs, or if there are n · k those of the targets of each. `refused` has the
    reason for each input without outputs, by its place among the names. `columns` are cells to be shown
    beside each name. `far` has the numbers of an input that lie far outside the training examples. `further`
    are outputs of the same shape, by name, that say more of a prediction.
    """

    plan: Plan
    epoch: int
    digest: str  # of the checkpoint file
    names: list[str]
    outputs: Tensor
    refused: Mapping[int, str] = field(default_factory=dict)
    columns: Mapping[str, list[str]] = field(default_factory=dict)
    far: Mapping[int, Mapping[str, FarValue]] = field(default_factory=dict)
    further: Mapping[str, Tensor] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each name as `input`, with the prediction in the words of the task, or its `problem`."""
        outputs, names, n = self.outputs, self.names, self.outputs.shape[1]
        further = self.further
        if not self.refused and len(names) == outputs[0].numel():
            outputs = outputs.reshape(len(outputs), len(names), 1)
            further = {name: some.reshape(outputs.shape) for name, some in further.items()}
        elif len(names) != n + len(self.refused):  # of each target, but the outputs are no such estimates
            names = [f"input {number}" for number in range(1, n + 1)]
        task = self.plan.task
        predicted = [
            task.row(outputs[:, index])
            | (task.further({name: some[:, index] for name, some in further.items()}) if further else {})
            for index in range(outputs.shape[1])
        ]
        rows = with_problems(names, predicted, self.refused, self.columns)
        for place, columns in self.far.items():
            rows[place][FAR] = {
                name: {"value": value, "training": [*ends]} for name, (value, ends) in columns.items()
            }
        return rows


class PredictedPieces:
    """The predictions of a model for inputs that are read, predicted and given piece by piece."""

    def __init__(
        self,
        plan: Plan,
        epoch: int,
        digest: str,
        pieces: Iterator[Predictions],
        calibration: Calibration,
    ) -> None:
        self.plan, self.epoch, self.digest, self._pieces = plan, epoch, digest, pieces
        self.calibration = calibration

    @property
    def unit(self) -> str:
        """The unit of the predictions, if they are estimates of the target."""
        return self.plan.data.unit if self.plan.task.are_estimates else ""

    def each_row(self) -> Iterator[dict[str, Any]]:
        """Yield the rows once, as their inputs are read (see `Predictions.rows`)."""
        for piece in self._pieces:
            yield from piece.rows()

    def rows(self) -> list[dict[str, Any]]:
        """All rows that were not given yet."""
        return list(self.each_row())


def with_problems(
    names: Sequence[str],
    predicted: Iterable[dict[str, Any]],
    refused: Mapping[int, str],
    columns: Mapping[str, list[str]],
) -> list[dict[str, Any]]:
    """A row for each name: its prediction, or the `problem` for which it has none, and its `columns`."""
    rest, rows = iter(predicted), []
    for place, name in enumerate(names):
        row: dict[str, Any] = {"input": name}
        if columns:
            row["columns"] = {column: cells[place] for column, cells in columns.items()}
        rows.append(row | ({PROBLEM: refused[place]} if place in refused else next(rest)))
    return rows


def predict_files(
    path: Path,
    given: Sequence[str | Path],
    parts: Parts,
    data_dir: Path,
    device: str | None = None,
    sampling: Sampling | None = None,
    out: Path | None = None,
    name: str = "predicted",
    *,
    with_columns: bool = False,
    weights: WhichWeights | None = None,
    tta: Views | None = None,
    warn: Callable[[str], None] = lambda text: None,
) -> PredictedPieces | Continuations | PredictedImages:
    """Predict the inputs in some files with the model of a checkpoint; its training data is not needed.

    A pattern such as `data/*.csv` names all files that match it.
    Of a model of texts an input may be given itself; one that continues texts does so by `sampling`.
    Predictions that are images are written into the folder `out`, by default NAME-masks or
    NAME-reconstructions in the working directory. An input that cannot be predicted has a row with its
    problem. `with_columns` shows the cells of a table beside the predictions. `weights` are those to take of
    a run that averaged them, by default the ones that its `monitor` chose. Outputs are means over the views
    `tta`. `warn` is told when memory suffices for fewer inputs at once only. Raises CheckpointRefused as
    evaluation does, UserError for a file or a text that the model cannot take, for an image that would
    replace a file, and for views that do not suit the model.
    """
    words = [f"device={device}"] if device else []
    plan, preprocessing, saved = open_plan(path, words, parts, data_dir, weights=weights)
    if sampling and not plan.task.continues:
        raise UserError("--length, --temperature and --seed are for a model that continues texts")
    if out and not plan.task.image_name:
        raise UserError("--out is for a model whose predictions are images")
    views = views_of(tta, plan) if tta else ()
    given = [meant for each in given for meant in meant_inputs(plan.data, each)]
    far_images = FarImages(ranges_in(saved.data.get(IMAGE_RANGES)))
    read_each = partial(read_inputs, plan, far_images, is_alone=len(given) == 1)
    if plan.task.image_name:
        folder = out or Path(f"{name}-{plan.task.image_name}s")
        found = [list(read_each(each)) for each in given]
        plan.data.notes.extend(far_images.notes)
        return _predicted_images(plan, preprocessing, saved, path, given, found, folder, views, warn)
    pieces = (piece for each in given for piece in read_each(each))
    first = next(pieces, None)  # a file that cannot be read is said before anything is printed
    if first is None:
        raise UserError(f"there is no input in {', '.join(map(in_full, given))}")
    hardware, epoch = replace(plan.hardware(), warn=warn), saved.state["epoch"]
    model, size = _opened(plan, hardware, saved, path, views), plan.recipe.evaluation_batch
    if plan.task.continues:
        read = [first, *pieces]
        prompts = [ids for piece in read for ids in single(piece.inputs)]
        more = continued(plan, model, preprocessing, hardware, prompts, sampling or Sampling())
        names = [name for piece in read for name in piece.names]
        return Continuations(plan, epoch, saved.digest, names, prompts, more)

    calibration, note = calibration_of(saved, path, plan.task.positives)
    plan.data.notes.extend([note] * bool(note))
    if calibration.temperatures:
        divide(model, calibration.temperatures)
    if calibration.thresholds:
        plan = decided_by(plan, calibration.thresholds)

    def predicted() -> Iterator[Predictions]:
        for piece in chain([first], pieces):
            further: dict[str, Tensor] = {}
            if len(first_of(piece.inputs)):
                every = outputs_for(model, piece.inputs, preprocessing, hardware, size)
                outputs = main_outputs(every)
                if plan.loss.head and isinstance(every, dict):
                    further = {name: some for name, some in every.items() if name != MAIN}
            else:
                outputs = torch.empty(len(model.seeds), 0, *plan.layers.output_shape)
            columns = piece.columns if with_columns else {}
            refused, far = piece.refused, piece.far
            yield Predictions(plan, epoch, saved.digest, piece.names, outputs, refused, columns, far, further)
        plan.data.notes.extend(far_images.notes)

    return PredictedPieces(plan, epoch, saved.digest, predicted(), calibration)


def _predicted_images(
    plan: Plan,
    preprocessing: Preparation,
    saved: Checkpoint,
    path: Path,
    given: Sequence[str | Path],
    read: Sequence[Sequence[NewInputs]],
    out: Path,
    views: Sequence[View],
    warn: Callable[[str], None],
) -> PredictedImages:
    """The images predicted for what was `read` of files, written into a folder that may hold none of them."""
    names = [
        [name for piece in pieces for place, name in enumerate(piece.names) if place not in piece.refused]
        for pieces in read
    ]
    files = new_files(out, [(Path(each), own) for each, own in zip(given, names, strict=True)])
    hardware = replace(plan.hardware(), warn=warn)
    every = [piece for pieces in read for piece in pieces]
    model = _opened(plan, hardware, saved, path, views)
    found: list[dict[str, Any]] = []
    if files:
        there = [piece.inputs for piece in every if len(first_of(piece.inputs))]
        inputs = single(mapped(lambda *each: torch.cat(each), *there))
        flat = [name for own in names for name in own]
        found = written_images(plan, model, preprocessing, hardware, inputs, flat, files)
    rest = iter(found)
    rows = [row for piece in every for row in with_problems(piece.names, rest, piece.refused, {})]
    return PredictedImages(plan, saved.state["epoch"], saved.digest, rows)


def _opened(plan: Plan, hardware: Hardware, saved: Checkpoint, path: Path, views: Sequence[View]) -> Copies:
    """The model of a checkpoint, averaged over views if there are any."""
    model = open_model(plan, hardware, saved, path)
    return averaged_over(views, model, plan) if views else model


def meant_inputs(data: Data, given: str | Path) -> Sequence[str | Path]:
    """A text or a file itself, or the files that match a pattern. Raises UserError if there are none."""
    if _is_text(data, given):
        return [given]
    if is_pattern(Path(given)):
        return files_of(Path(given))
    if not Path(given).exists():
        raise UserError(f"there is no file {in_full(given)}{meant_file(Path(given))}")
    return [given]


def _is_text(data: Data, given: str | Path) -> bool:
    """True for a text itself instead of the name of a file."""
    text = str(given)
    return data.encode is not None and not (text and lexists(given)) and not _FILE_NAME.fullmatch(text)


def read_inputs(
    plan: Plan, far_images: FarImages, given: str | Path, *, is_alone: bool
) -> Iterator[NewInputs]:
    """Read a file or take a text; rows and notes of several files name them, for each has a row 2.

    Raises UserError for a file that the model cannot take.
    """
    path, data = Path(given), plan.data
    told = len(data.notes)
    if data.encode and _is_text(data, given):
        yield NewInputs([str(given)], data.encode(str(given)).unsqueeze(0))
        return
    try:
        for piece in new_inputs(data, path):
            if len(data.shape) == 3 and len(first_of(piece.inputs)):
                piece = with_far(piece, far_images)
            if is_alone or plan.task.continues or len(data.shape) not in (1, 2):
                yield piece
            else:
                yield replace(piece, names=[f"{path.name}: {name}" for name in piece.names])
        if not is_alone:
            data.notes[told:] = [_of_file(path.name, note) for note in data.notes[told:]]
    except UserError as error:
        # a dataset of the user's may make its inputs of files of any kind
        is_built_in = plan.parts.part("dataset", plan.config.dataset.name).built_in
        if is_built_in and not isinstance(error, RunFailed):
            error = mistaken_input(data, path) or error
        if is_alone or path.is_dir() or len(data.shape) != 3 or isinstance(error, RunFailed):
            raise error
        yield NewInputs([printable(path)], torch.empty(0, *data.shape), {0: error.what})  # one of many images


def _of_file(name: str, note: str) -> str:
    return note if note.startswith(name) else f"{name}: {note}"


def with_far(piece: NewInputs, far_images: FarImages) -> NewInputs:
    """The images that were read, with the figures of those that lie far outside the training images."""
    kept = [place for place in range(len(piece.names)) if place not in piece.refused]
    far = far_images.found(single(piece.inputs), [piece.names[place] for place in kept])
    return replace(piece, far={**piece.far, **{kept[index]: own for index, own in far.items()}})


def new_inputs(data: Data, path: Path) -> Iterator[NewInputs]:
    """Yield the inputs in a file or folder, in pieces.

    The dataset's own `read_new` reads them if it has one; otherwise inputs (channels, height, width) come
    from images, and vectors from the rows of a CSV file. Raises UserError for unreadable input.
    """
    if data.read_new:
        found = data.read_new(path)
        yield from [NewInputs(*found)] if isinstance(found, tuple) else found
    elif len(data.shape) == 3:
        yield from _images(data, path)
    elif len(data.shape) == 1 and not data.has_whole_numbers():
        yield _vectors(data, path)
    else:
        what = f"inputs of {data.said_shape} cannot be read from a file: this dataset reads no new ones"
        raise UserError(what)


def _images(data: Data, path: Path) -> Iterator[NewInputs]:
    """An image, or those of a folder, of which one that cannot be read is refused alone."""
    channels, height, width = data.shape
    if not path.is_dir():
        yield NewInputs([printable(path)], read_image(path, height, width, channels, "pad").unsqueeze(0))
        return
    files = image_files(path)
    if not files:
        raise UserError("there are no images in this folder", where=printable(path))
    for start in range(0, len(files), EVALUATION_BATCH):
        some, images, refused = files[start : start + EVALUATION_BATCH], [], {}
        for place, file in enumerate(some):
            try:
                images.append(read_image(file, height, width, channels, "pad"))
            except RunFailed:
                raise
            except UserError as error:
                refused[place] = error.what
        inputs = torch.stack(images) if images else torch.empty(0, *data.shape)
        yield NewInputs(list(map(printable, some)), inputs, refused)


def _vectors(data: Data, path: Path) -> NewInputs:
    """Rows of numbers: the columns with the dataset's feature names if it has any, else all in order."""
    table = read_table(path, texts=EVERY_COLUMN)  # its cells are carried as they are written
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
    figures, refused = torch.empty(len(table), size), dict[int, str]()
    for index, column in enumerate(columns):
        for row, text in enumerate(table.column(column)):
            try:
                value = number(text)
            except ValueError as error:
                refused.setdefault(row, f"column {column}: {error}")
                continue
            if value is None:
                refused.setdefault(row, f"column {column}: there is no value")
            else:
                figures[row, index] = value
    kept = torch.tensor([row for row in range(len(figures)) if row not in refused], dtype=torch.long)
    cells = {column: list(table.column(column)) for column in table.columns}
    return NewInputs([f"row {line}" for line in table.lines], figures[kept], refused, cells)
