"""`dlrun.load`: a trained model of a run as a module that takes raw inputs, for code outside of dlrun."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dlrun.config.registry import Parts
from dlrun.data.examples import NewInputs
from dlrun.data.image_files.far_images import IMAGE_RANGES, FarImages, ranges_in
from dlrun.data.preparation import Preparation
from dlrun.data.preprocessing import Preprocessing
from dlrun.data.trees import Tree, first_of, main_outputs
from dlrun.errors import UserError
from dlrun.results.config_of_run import ConfigOfRun
from dlrun.results.evaluating import evaluated
from dlrun.results.places import InFolder, PathLike, Places, expanded
from dlrun.results.prediction import Predictions
from dlrun.results.python_inputs import python_inputs
from dlrun.results.rows import Rows, rows_of
from dlrun.run_folders.finding import find_run
from dlrun.run_folders.mistaken_names import refuse_other_files
from dlrun.run_folders.run import Run
from dlrun.system.process_state import undisturbed
from dlrun.training.calibration import calibration_of
from dlrun.training.checkpoint import Checkpoint
from dlrun.training.checkpoint_entries import epochs_of, load_weights
from dlrun.training.copies import WithLoss
from dlrun.training.opening import open_plan
from dlrun.training.plan import Plan
from dlrun.training.provenance import said_of_other_code
from dlrun.training.thresholds import decided_by
from dlrun.training.trained import outputs_for


class FromRaw(nn.Module):
    """A model that prepares raw inputs (n, …) itself, as its training data were; gives outputs (n, …).

    Of several inputs it takes a dict, and gives one if the model has several outputs.
    """

    def __init__(self, model: nn.Module, preprocessing: Preparation, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model
        each = preprocessing.to(torch.device("cpu"), dtype).each
        self._prepare = nn.ModuleList(_Prepare(own) for own in each.values())
        self._names = list(each)

    def forward(self, inputs: Tree) -> Tree:
        if isinstance(inputs, Tensor):
            prepared: Tree = self._prepare[0](inputs)
        else:
            named = zip(self._names, self._prepare, strict=True)
            prepared = {name: prepare(inputs[name]) for name, prepare in named}
        outputs: Tree = self.model(prepared)
        return outputs


class _Prepare(nn.Module):
    """The preprocessing of one input, on the device of the module."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self._dtype = preprocessing.dtype
        self._names = list(preprocessing.state_dict())
        for name, step in preprocessing.state_dict().items():
            self.register_buffer(name, step)

    def forward(self, inputs: Tensor) -> Tensor:
        steps: dict[str, Tensor | None] = {name: getattr(self, name) for name in self._names}
        for step in (steps["offset"], steps["scale"], steps["fill"]):
            if step is not None and _stretches(step.shape, inputs.shape[1:]):
                shape, needed = tuple(inputs.shape), ", ".join(map(str, step.shape))
                raise ValueError(f"the inputs are {shape}, but the model was trained on (n, …) of ({needed})")
        return Preprocessing(**steps, dtype=self._dtype)(inputs)


def _stretches(step: torch.Size, shape: torch.Size) -> bool:
    """True if a step of preprocessing does not fit inputs of a shape, or would give them another one."""
    pairs = zip(reversed(step), reversed(shape), strict=False)
    return len(step) > len(shape) or any(size not in (1, own) for size, own in pairs)


class TrainedModel:
    """The trained model of a run: that of one seed, or those of several, which predict together.

    `classes` are their names, `config` is the run's, `seeds` and `epochs` are those of the weights. `parts`
    and `data_dir` are the folders that `evaluate` uses. It is on the CPU, in evaluation mode, and wants no
    gradients.
    """

    def __init__(
        self,
        plan: Plan,
        preprocessing: Preparation,
        saved: Checkpoint,
        path: Path,
        seeds: Sequence[int],
        run: Run | None,
        parts: Parts,
        data_dir: Path,
    ) -> None:
        every, epochs = plan.config.seeds, epochs_of(saved.state)
        places = [every.index(seed) for seed in seeds]
        copies = plan.model(list(seeds))
        load_weights(copies, [saved.state["model"][place] for place in places], path)
        copies.eval().requires_grad_(False)
        self._plan, self._preprocessing, self._copies = plan, preprocessing, copies
        self._path, self._run, self._parts, self._data_dir = path, run, parts, data_dir
        self._image_ranges = ranges_in(saved.data.get(IMAGE_RANGES))
        self._digest = saved.digest
        found, self._note = calibration_of(saved, path, plan.task.positives)
        self._temperatures = [found.temperatures[place] for place in places] if found.temperatures else []
        self._deciding = decided_by(plan, found.thresholds) if found.thresholds else plan
        self.classes, self.config = plan.data.classes, ConfigOfRun(plan.config.plain())
        self.seeds = list(seeds)
        self.epochs = [epochs[place if len(epochs) > 1 else 0] for place in places]
        self.models: list[nn.Module] = []
        for copy in copies.copies:
            whole = FromRaw(copy.model if isinstance(copy, WithLoss) else copy, preprocessing, plan.dtype)
            self.models.append(whole.eval().requires_grad_(False))

    @property
    def model(self) -> nn.Module:
        """The module that takes raw inputs (n, …) and gives outputs (n, …), as they are at training.

        Neither temperatures nor thresholds of a calibration are in it. Raises UserError if there are several
        seeds.
        """
        return self.models[self._only()]

    @property
    def seed(self) -> int:
        """The seed of the model. Raises UserError if there are several."""
        return self.seeds[self._only()]

    @property
    def epoch(self) -> int:
        """The epoch of its weights. Raises UserError if there are several seeds."""
        return self.epochs[self._only()]

    def _only(self) -> int:
        if len(self.seeds) > 1:
            what = f"the run has the seeds {', '.join(map(str, self.seeds))}"
            raise UserError(what, fix="choose one: dlrun.load(run, seed=…)")
        return 0

    @property
    def metrics(self) -> Rows:
        """metrics.csv of its run: a row for each epoch and seed. Raises UserError without a run."""
        if self._run is None:
            raise UserError("a checkpoint file alone has no metrics", fix="load the run: dlrun.load(RUN)")
        return rows_of(self._run.rows())

    def predict(self, inputs: Any) -> Any:
        """The predictions for new inputs, as `dlrun predict` makes them, of several seeds together.

        Of a classifier they are names of classes, of several labels a list of those for each input, of places
        (a text, an image) classes (n, …) as numbers, and otherwise numbers: (n,) for one target, (n, k) for
        several. `inputs` are raw: a tensor or an array (n, …), a dict of those for several inputs, a
        DataFrame, the path of a file or folder, texts, or images of Pillow. Raises UserError for inputs that
        the model cannot take, and for one that cannot be predicted.
        """
        outputs, task = self.outputs(inputs), self._deciding.task
        if task.has_own_space:
            self._only()  # each seed has a space of its own, in which a mean is no point
        answers = task.answers(outputs)
        if "class" in answers:
            classes = answers["class"]
            return classes if self._plan.data.places else [self.classes[each] for each in classes.tolist()]
        if "labels" in answers:
            every = [zip(self.classes, own, strict=True) for own in answers["labels"].tolist()]
            return [[name for name, applies in own if applies] for own in every]
        found = next(iter(answers.values()))
        return found.squeeze(1) if found.dim() == 2 and found.shape[1] == 1 else found

    def probabilities(self, inputs: Any) -> Tensor:
        """The probability of each class (n, classes, …), or of each label, as means over seeds.

        They are divided by the temperatures of `dlrun calibrate`, if there are any. `inputs` are those of
        `predict`. Raises UserError for a model without classes.
        """
        answers = self._plan.task.answers(self.outputs(inputs))
        if "probabilities" not in answers:
            what = f"a model of the task {self._plan.data.task} has no classes, and so no probabilities"
            raise UserError(what)
        return answers["probabilities"]

    def predictions(self, inputs: Any) -> Rows:
        """A row for each input, as `dlrun predict --json` has it, with a `problem` for one without."""
        if self._plan.task.image_name:
            what = "a prediction of this model is an image, not a row"
            raise UserError(what, fix="predict(…) gives the images as tensors")
        found = Rows()
        for piece in self._read(inputs):
            outputs = self._outputs_of(piece)
            further: Any = piece.refused, {}, piece.far
            found += Predictions(
                self._deciding, max(self.epochs), self._digest, piece.names, outputs, *further
            ).rows()
        return found

    def outputs(self, inputs: Any) -> Tensor:
        """The outputs (seeds, n, …) that predict, divided by the temperatures of a calibration."""
        pieces = self._read(inputs)
        for piece in pieces:
            for place, why in piece.refused.items():
                what = f"{piece.names[place]} cannot be predicted: {why}"
                raise UserError(what, fix="predictions(…) has a row for each input, with its problem")
        every = [self._outputs_of(piece) for piece in pieces]
        if len({each.shape[2:] for each in every}) > 1:
            raise UserError(
                "the inputs are of different lengths, and so are the outputs", fix="give one at a time"
            )
        return torch.cat(every, 1)

    def evaluate(
        self, split: Literal["train", "valid", "test"] | None = None, *, on: PathLike | None = None
    ) -> dict[str, Any]:
        """Measure a split of the run's data, by default test, or other data `on` a file or folder.

        It is the report of `dlrun eval --json`, of all seeds of the run. Raises UserError for data that are
        not there or have changed.
        """
        return evaluated(self._path, self._run, split, on, self._parts, self._data_dir)

    def _read(self, inputs: Any) -> list[NewInputs]:
        data = self._plan.data
        told, far_images = len(data.notes), FarImages(self._image_ranges)
        pieces = python_inputs(self._plan, far_images, inputs)
        for note in [*data.notes[told:], *far_images.notes, *filter(None, [self._note])]:
            warnings.warn(note, stacklevel=4)
        del data.notes[told:]
        if not any(len(piece.names) for piece in pieces):
            raise UserError("there is no input")
        return pieces

    @torch.no_grad()
    def _outputs_of(self, piece: NewInputs) -> Tensor:
        plan, size = self._plan, self._plan.recipe.evaluation_batch
        if not len(first_of(piece.inputs)):
            return torch.empty(len(self.seeds), 0, *plan.layers.output_shape)
        hardware = plan.hardware()
        every = outputs_for(self._copies, piece.inputs, self._preprocessing, hardware, size)
        outputs = main_outputs(every)
        if not self._temperatures:
            return outputs
        each = torch.tensor(self._temperatures, dtype=torch.float64).view(-1, *[1] * (outputs.dim() - 1))
        return outputs / each.to(outputs.dtype)

    def __repr__(self) -> str:
        seeds = f"seed {self.seeds[0]}" if len(self.seeds) == 1 else f"{len(self.seeds)} seeds"
        name = self._run.name if self._run else self._path.name
        architecture, epoch = self._plan.config.architecture.name, max(self.epochs)
        return f"<TrainedModel of {name}: {architecture}, {seeds}, epoch {epoch}>"


def load(
    run: PathLike | InFolder,
    *,
    seed: int | None = None,
    checkpoint: Literal["best", "last"] = "best",
    runs_dir: PathLike = "runs",
    parts: PathLike | None = None,
    data_dir: PathLike | None = None,
) -> TrainedModel:
    """Load the trained model of a run: a `dlrun.Run`, a folder, a name, or a checkpoint file.

    The training data are not needed. `seed` chooses one of a run with several, which else predict together.
    `parts` is the folder of the parts of your own that it was trained with (default: DLRUN_PARTS, or that of
    `dlrun.part`). The process is left as it was: neither threads nor random state change. Raises UserError if
    there is no such run or seed, CheckpointRefused for a file that is damaged or does not fit.
    """
    if checkpoint not in ("best", "last"):
        raise UserError(f"checkpoint is 'best' or 'last', not {checkpoint!r}")
    given, found = expanded(run if isinstance(run, str | os.PathLike) else run.folder), None
    if given.is_file():
        refuse_other_files(given, Path(runs_dir))
        path = given
    else:
        found = find_run(str(given), Path(runs_dir).expanduser())
        path = found.last if checkpoint == "last" else found.best
    places = Places(parts, data_dir)
    own, data = places.own_parts(), places.data_folder()
    with undisturbed():  # parts are tried on a gradient
        plan, preprocessing, saved = open_plan(path, ["device=cpu"], own, data)
        if changed := said_of_other_code(saved, plan.config, own):
            warnings.warn(changed, stacklevel=2)
        seeds = plan.config.seeds if seed is None else [seed]
        if seed is not None and seed not in plan.config.seeds:
            known = ", ".join(map(str, plan.config.seeds))
            raise UserError(f"the run has no seed {seed}, but {known}")
        return TrainedModel(plan, preprocessing, saved, path, seeds, found, own, data)
