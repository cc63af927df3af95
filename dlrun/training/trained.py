"""Trained: a trained model with its data, opened from an untrusted checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlrun.blocks.decisions import Decision
from dlrun.config.keys import KEYS, SPLITS, Config
from dlrun.config.loading import config_from_plain
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.data.example_weights import parted, unit_weights
from dlrun.data.examples import Data
from dlrun.data.image_files.finding import printable
from dlrun.data.loaded import Loaded
from dlrun.data.preparation import Preparation
from dlrun.data.trees import Tree, at, expanded, first_of, joined, main_outputs, mapped, single
from dlrun.errors import CheckpointRefused, UserError, shortened
from dlrun.run_folders.run import Run
from dlrun.system.progress import Progress, no_progress
from dlrun.training.baselines import baselines_of
from dlrun.training.checkpoint import Checkpoint, load_checkpoint
from dlrun.training.copies import Apart, Copies, as_tensor
from dlrun.training.devices import lack_of_memory
from dlrun.training.fixed_options import refuse_fixed_options
from dlrun.training.hardware import Hardware
from dlrun.training.layers import TooManyWeights, skeleton
from dlrun.training.loop import predictions
from dlrun.training.not_finite import weight_not_finite
from dlrun.training.plan import Plan
from dlrun.training.plan_making import make_plan
from dlrun.training.provenance import FOR_EVALUATION, Misfit, refuse_stand_ins, suspecting_own_parts
from dlrun.training.trained_on import JUDGE_ALL, refuse_other_data, trained_on_of


@dataclass
class Trained:
    """A trained model, its data and its run folder: the input of plots and of `dlrun eval`.

    `model` holds all copies; axis 0 of its outputs is the seed. `split` is the one that plots show: the
    evaluation split, or train if there is none. Of data that changed since training a split leaves out what
    was trained on, train what was not.
    """

    plan: Plan
    loaded: Loaded
    hardware: Hardware
    model: Copies
    epoch: int
    run: Run | None = None
    _outputs: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    reached: dict[str, dict[str, dict[str, float]]] = field(
        default_factory=dict
    )  # baselines, as far as known
    epochs: list[int] = field(default_factory=list)  # the epoch of each copy; empty: all are of `epoch`
    trained_on: Tensor | None = None  # the keys of its training examples, if they are known
    left_out: dict[str, int] = field(default_factory=dict)  # examples of each split that it leaves out
    given: str = ""  # the split that is other data
    source: str = ""  # and the file or folder of it
    no_baselines: str = ""  # the reason why other data have none that learn from the training data

    @property
    def data(self) -> Data:
        return self.plan.data

    @property
    def seeds(self) -> list[int]:
        return self.model.seeds

    def at_epoch(self, copy: int | None = None) -> str:
        """The epoch of one copy, or those of all, in words for titles: `epoch 12`, `best epochs 7 to 40`."""
        epochs = self.epochs or [self.epoch]
        if copy is not None:
            return f"epoch {epochs[copy if len(epochs) > 1 else 0]:,}"
        low, high = min(epochs), max(epochs)
        return f"epoch {high:,}" if low == high else f"best epochs {low:,} to {high:,}"

    @property
    def split(self) -> str:
        return self.data.evaluation_split or "train"

    def chosen(self, split: str) -> str:
        """The split that a plot's option names; auto is the evaluation split, or train if there is none."""
        return self.split if split == "auto" else split

    @cached_property
    def rows(self) -> dict[str, list[Any]]:
        """metrics.csv as columns (see `Run.rows`)."""
        return self.run.rows() if self.run else {}

    def outputs(self, split: str) -> tuple[Tensor, Tensor]:
        """Outputs (copies, n, …) that predict and targets (n, …) of a split, in its own order, on the CPU."""
        if split not in self._outputs:  # several plots draw from the same ones
            size = self.plan.recipe.evaluation_batch
            found = [
                (main_outputs(outputs).cpu(), single(parted(targets)[0], "the targets")[0].cpu())
                for outputs, targets in predictions(self.model, self.loaded[split], self.hardware, size)
            ]
            self._outputs[split] = torch.cat([o for o, _ in found], 1), torch.cat([t for _, t in found])
        return self._outputs[split]

    @property
    def decision(self) -> Decision:
        """The rule by which a class is predicted; only for tasks with classes."""
        assert self.plan.task.decision is not None, f"{self.data.task} predicts no class"
        return self.plan.task.decision

    def probabilities(self, inputs: Tensor) -> Tensor:
        """The probabilities (copies, n, classes) for raw inputs (n, *input shape), on the CPU."""
        return self.decision.probabilities(self.outputs_at(inputs))

    def outputs_at(self, inputs: Tree) -> Tensor:
        """The outputs (copies, n, …) that predict, for raw inputs (n, *input shape), on the CPU."""
        size = self.plan.recipe.evaluation_batch
        return main_outputs(outputs_for(self.model, inputs, self.loaded.preprocessing, self.hardware, size))

    @torch.no_grad()
    def judged(self, split: str, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs (copies, m, …) that predict for some examples, and their losses (copies, m).

        Both are on the CPU. The loss of an example is its own, whatever its weight, and nan if no place of it
        counts.
        """
        self.model.eval()
        copies, indices = len(self.seeds), indices.to(self.hardware.device)

        def compute(piece: slice) -> tuple[Tensor, Tensor]:
            inputs, targets = self.loaded[split].batch(indices[piece])
            with self.hardware.autocast():
                outputs = self.model(expanded(inputs, copies))
            targets = unit_weights(expanded(targets, copies))
            losses = self.model.losses(self.plan.recipe.loss, outputs, targets)
            return main_outputs(joined(outputs)).cpu(), as_tensor(losses).cpu()

        size = self.plan.recipe.evaluation_batch
        found = list(self.hardware.in_pieces(len(indices), size, compute))
        losses = torch.cat([loss for _, loss in found], 1)
        if losses.dim() == 3:  # w · loss, and w
            losses = losses[..., 0] / losses[..., 1]
        return torch.cat([o for o, _ in found], 1), losses

    def weights(self, split: str) -> Tensor | None:
        """The weights (n,) of the examples of a split, on the CPU; None if they have none."""
        weights = self.loaded[split].weights
        return None if weights is None else weights.cpu()

    def name_of(self, split: str, index: int) -> str:
        """The name of an example of a split, such as its file or its row; "" if the dataset tells none."""
        origin = self.loaded[split].origin
        return "" if origin is None or self.data.name_of is None else self.data.name_of(int(origin[index]))

    def seen(self, split: str) -> Tensor | None:
        """The examples of a split that were trained on, as bool (n,); None if that is not known."""
        keys = self.loaded[split].keys
        return None if keys is None or self.trained_on is None else torch.isin(keys, self.trained_on)

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """The figures of the baselines on a split: baseline -> figure -> value."""
        if split not in self.reached:
            self.reached[split] = baselines_of(self.plan, self.loaded, split)
        return self.reached[split]

    def moments(self) -> Iterator[Trained]:
        """Yield the model of each epoch that has a snapshot of its weights, in order."""
        for path in sorted(self.run.weights.glob("*.pt")) if self.run else ():
            saved = load_checkpoint(path)
            model = self.plan.model()
            load_weights(model, saved.state["model"], path)
            yield replace(self, model=model, epoch=saved.state["epoch"], _outputs={})


@torch.no_grad()
def outputs_for(
    model: Copies, inputs: Tree, preprocessing: Preparation, hardware: Hardware, size: int
) -> Tree:
    """The outputs (copies, n, …) for raw inputs (n, *input shape), `size` at a time, on the CPU."""
    model.eval()
    dtype = next((weight.dtype for weight in model.parameters()), torch.float32)
    preprocessing = preprocessing.to(hardware.device, dtype)

    def compute(piece: slice) -> Tree:
        prepared = preprocessing(mapped(lambda some: some.to(hardware.device), at(inputs, piece)))
        with hardware.autocast():
            outputs = joined(model(expanded(prepared, len(model.seeds))))
        return mapped(Tensor.cpu, outputs)

    found = hardware.in_pieces(len(first_of(inputs)), size, compute)
    return mapped(lambda *each: torch.cat(each, 1), *found)


def open_checkpoint(
    path: Path,
    run: Run | None,
    overrides: Sequence[str],
    parts: Parts,
    data_dir: Path,
    progress: Progress = no_progress,
    warn: Callable[[str], None] = lambda text: None,
) -> tuple[Trained, Checkpoint]:
    """Open the trained model in an untrusted checkpoint file, with its data.

    `warn` is told when memory suffices for fewer examples at once only.
    Raises CheckpointRefused if its entries contradict each other, UserError if an override or the data
    does not fit it, or if an override leads to other data than those of training.
    """
    plan, preprocessing, saved = open_plan(path, overrides, parts, data_dir)
    trained_on = trained_on_of(saved, path)
    try:
        loaded = plan.load(preprocessing, progress)
    except UserError as error:
        if plan.data.read_labelled and any(text.startswith("dataset.path") for text in overrides):
            error.fix = f"{error.fix}; " * bool(error.fix) + JUDGE_ALL
        raise
    refuse_other_data(plan, loaded, saved, overrides)
    has_changed = loaded.fingerprint != saved.data.get("fingerprint")
    left_out = loaded.leave_out(trained_on) if has_changed and trained_on is not None else {}
    hardware = replace(plan.hardware(loaded), warn=warn)
    model, epochs = open_model(plan, hardware, saved, path), epochs_of(saved.state)
    found = Trained(plan, loaded, hardware, model, max(epochs), run, epochs=epochs)
    return replace(found, trained_on=trained_on, left_out=left_out), saved


def open_given(
    path: Path,
    run: Run | None,
    overrides: Sequence[str],
    parts: Parts,
    data_dir: Path,
    source: Path,
    progress: Progress = no_progress,
    warn: Callable[[str], None] = lambda text: None,
) -> tuple[Trained, Checkpoint]:
    """Open the trained model in an untrusted checkpoint file, with all examples of another file or folder.

    They are the split `given`. The training data are opened too if they are at hand, for baselines. Raises
    as `open_checkpoint` does, and UserError for a file without targets.
    """
    if any(text.split("=")[0] == "limit" for text in overrides):
        raise UserError("every example of other data is judged, so that limit has no effect")
    plan, preprocessing, saved = open_plan(path, overrides, parts, data_dir)
    trained_on, data = trained_on_of(saved, path), plan.data
    if not data.read_labelled:
        what = f"{plan.config.dataset.name} reads no files with targets, by which predictions could be judged"
        raise UserError(what, fix="predict without judging: dlrun predict RUN FILE")
    if not source.exists():
        raise UserError(f"there is no file or folder {printable(source)}")
    try:
        examples = data.read_labelled(source)
    except UserError as error:
        predict = "dlrun predict RUN FILE predicts without targets"
        error.fix = (
            error.fix if "dlrun predict" in error.fix else f"{error.fix}; " * bool(error.fix) + predict
        )
        raise
    name = printable(source.absolute().name)
    name = f"./{name}" if name in SPLITS else name
    if data.weighted and examples.weights is None:
        data.notes.append(f"{name} has no weights: each of its examples counts once")
        examples = replace(examples, weights=torch.ones(len(examples)))
    loaded, notes = plan.load(preprocessing, given={name: examples}), list(data.notes)
    no_baselines = ""
    try:
        training = plan.load(preprocessing, progress)
    except (UserError, OSError) as error:
        no_baselines = f"the training data cannot be read: {_said(error)}"
    else:
        if training.fingerprint == saved.data.get("fingerprint"):
            loaded.splits["train"] = training["train"]
        else:
            no_baselines = "the training data have changed since"
    data.notes[:] = notes  # those of the training data were told at training
    hardware = replace(plan.hardware(), warn=warn)
    model, epochs = open_model(plan, hardware, saved, path), epochs_of(saved.state)
    found = Trained(plan, loaded, hardware, model, max(epochs), run, epochs=epochs)
    of_given = {"given": name, "source": printable(source), "no_baselines": no_baselines}
    return replace(found, trained_on=trained_on, **of_given), saved  # type: ignore[arg-type]


def _said(error: UserError | OSError) -> str:
    """The reason why data cannot be read, in one line."""
    return error.inline if isinstance(error, UserError) else f"{error.strerror}: {error.filename}"


def open_model(plan: Plan, hardware: Hardware, saved: Checkpoint, path: Path) -> Copies:
    """The model of a checkpoint that `open_plan` has checked, ready for evaluation."""
    hardware.use()
    model = plan.model()
    load_weights(model, saved.state["model"], path)
    return hardware.prepare(model)


def open_plan(
    path: Path, overrides: Sequence[str], parts: Parts, data_dir: Path
) -> tuple[Plan, Preparation, Checkpoint]:
    """The plan and the preprocessing of a checkpoint file, checked for consistency; no data is read.

    Raises as `open_checkpoint` does.
    """
    saved = load_checkpoint(path)
    config = _config(saved, path, overrides, parts)
    refuse_stand_ins(saved, path, config, parts, FOR_EVALUATION)
    with suspecting_own_parts(parts):
        return *_open_plan(saved, path, config, parts, data_dir, is_as_saved=not overrides), saved


def _open_plan(
    saved: Checkpoint, path: Path, config: Config, parts: Parts, data_dir: Path, *, is_as_saved: bool
) -> tuple[Plan, Preparation]:
    """The plan and the preprocessing of a checkpoint; `is_as_saved` is False if its config was overridden."""
    try:
        known, model_state = saved.data["known"], saved.state["model"]
        if not isinstance(known, dict):  # without it the files that the config names would be opened
            raise TypeError("known")
        if not all(isinstance(weights, dict) for weights in model_state):
            raise TypeError("model")
        if len(model_state) != len(config.seeds):
            raise _misfit(f"it has {len(model_state):,} copies of them for {len(config.seeds):,} seeds", path)
        plan = make_plan(config, parts, data_dir, known, _most_weights(model_state))
        if len(epochs_of(saved.state)) not in (1, len(config.seeds)):
            raise ValueError("epochs")
        classes, shape = tuple(saved.data["classes"]), saved.data["input_shape"]
        preprocessing = Preparation.restored(saved.data["preprocessing"], plan.data)
    except ConfigError as error:
        at_hand = ("dataset", "device")  # may be missing on this machine: no fault of the file
        wrong = [mistake for mistake in error.mistakes if not mistake.key.startswith(at_hand)]
        if not is_as_saved or not wrong:
            raise
        raise CheckpointRefused(f"its config is refused: {wrong[0]}", where=str(path)) from None
    except TooManyWeights:
        raise _misfit("it has more than are in the file", path) from None
    except (LookupError, TypeError, ArithmeticError, ValueError, AttributeError) as error:
        raise CheckpointRefused(f"it lacks an entry: {shortened(error)}", where=str(path)) from None
    _refuse_too_large(plan, path)
    if classes != plan.data.classes or not _is_shape(shape) or shape != plan.data.plain_shape:
        differs = changed_data(saved, plan.data)
        what = (
            f"its classes or its input shape are not those of the dataset{f': {differs}' if differs else ''}"
        )
        raise Misfit(what, where=str(path))
    if not preprocessing.suits(plan.data):
        raise CheckpointRefused("its preprocessing does not fit the inputs", where=str(path))
    model = Apart(partial(skeleton, plan.build), config.seeds).to(
        plan.dtype
    )  # a mismatch is found before memory is taken
    load_weights(model, model_state, path, assign=True)
    if broken := weight_not_finite(model, model_state):
        seed, name = broken
        what = f"its weights {name} of seed {seed} are not all finite numbers"
        raise CheckpointRefused(what, where=str(path), fix="use another checkpoint")
    return plan, preprocessing


def changed_data(saved: Checkpoint, data: Data) -> str:
    """The difference of the inputs or the classes between a checkpoint and the data, in words.

    "" if there is none, or if the checkpoint's entries are malformed.
    """
    shape, classes = saved.data.get("input_shape"), saved.data.get("classes")
    if not _is_shape(shape):
        return ""
    if not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        return ""
    if shape != data.plain_shape:
        if not isinstance(shape, list) or not data.shape:
            return f"the inputs were {shape}, and now are {data.plain_shape}"
        before, now = (" × ".join(map(str, each)) for each in (shape, data.shape))
        return f"an input had {before} numbers, and now has {now}"
    if classes == list(data.classes):
        return ""
    if new := [name for name in data.classes if name not in classes]:
        return f"there were {len(classes)} classes, and now there is {shortened(new[0])!r} too"
    if gone := [name for name in classes if name not in data.classes]:
        return f"there were {len(classes)} classes, and now there is no {shortened(gone[0])!r}"
    return "its classes are in another order"


def _is_shape(shape: object) -> bool:
    """True for the shape of an input, or of several by name; an untrusted checkpoint may hold tensors."""
    each = list(shape.values()) if isinstance(shape, dict) else [shape]
    return all(isinstance(own, list) and all(type(size) is int for size in own) for own in each)


def _config(saved: Checkpoint, path: Path, overrides: Sequence[str], parts: Parts) -> Config:
    """The config in a checkpoint, with overrides of the keys that may change at evaluation."""
    keys = {text.split("=")[0].split(".")[0] for text in overrides}
    if fixed := sorted(key for key in keys if key not in KEYS or not KEYS[key].at_evaluation):
        raise UserError(f"{', '.join(fixed)} cannot be changed at evaluation: the model is what it is")
    before = config_of(saved, path, parts)
    plain = before.plain()
    if "metrics" in keys:  # these keys name metrics, and have no effect at evaluation
        plain |= {"expect": {}, "monitor": None, "patience": None}
    config = config_from_plain(plain, str(path), overrides, parts)
    refuse_fixed_options(before, config, parts)
    return config


def config_of(saved: Checkpoint, path: Path, parts: Parts) -> Config:
    """The config in a checkpoint. Raises CheckpointRefused if it is not valid."""
    try:
        return config_from_plain(saved.config, str(path), parts=parts, is_of_run=True)
    except UserError as error:
        said = error.mistakes[0] if isinstance(error, ConfigError) else error.what
        fix = "if it was trained with parts of your own, name their folder with --parts"
        raise CheckpointRefused(f"its config is refused: {said}", where=str(path), fix=fix) from None


def _refuse_too_large(plan: Plan, path: Path) -> None:
    """Raises CheckpointRefused if the device lacks memory for the weights and the largest layer output."""
    largest = max((prod(layer.output_shape) for layer in plan.layers.layers), default=0)
    wanted = 4 * (plan.layers.parameters * len(plan.config.seeds) + largest)
    if what := lack_of_memory("its model needs", wanted, plan.device, "for a single example"):
        raise CheckpointRefused(what, where=str(path))


def _most_weights(saved: list[dict[str, Any]]) -> tuple[int, int]:
    """The most weight tensors, and numbers in them, that a model of this checkpoint may have.

    Twice the saved ones: an architecture may replace the weights of a layer after creating it.
    """
    sizes = [value.numel() for value in saved[0].values() if isinstance(value, Tensor)]
    return 2 * len(sizes), 2 * sum(sizes)


def epochs_of(state: dict[str, Any]) -> list[int]:
    """The epochs of the weights in a checkpoint's state: one of all copies, or in best.pt one of each.

    Raises ValueError or LookupError for anything else, which an untrusted file may hold.
    """
    stopped = state.get("stopped")  # of last.pt
    ends = [state["epoch"] if stop is None else stop for stop in stopped] if isinstance(stopped, list) else []
    epochs = state.get("epochs") or ends or [state["epoch"]]
    if not isinstance(epochs, list) or not epochs:
        raise ValueError("epochs")
    for epoch in (state["epoch"], *epochs):
        if type(epoch) is not int or not 0 <= epoch < 2**63:
            raise ValueError("epoch")
    return epochs


def load_weights(model: Copies, saved: list[dict[str, Tensor]], path: Path, *, assign: bool = False) -> None:
    """Load saved weights into the copies. Raises CheckpointRefused if they do not fit."""
    try:
        for copy, weights in zip(model.copies, saved, strict=True):
            for name, value in copy.state_dict().items():
                if name in weights and isinstance(value, Tensor) and weights[name].dtype != value.dtype:
                    raise TypeError(f"{name} holds {weights[name].dtype}, not {value.dtype}")
            # A new dict: torch stores `assign` in the given one, where the next call would find it.
            copy.load_state_dict(dict(weights), assign=assign)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise _misfit(str(error).splitlines()[-1].strip()[:150], path) from None


def _misfit(reason: str, path: Path) -> Misfit:
    return Misfit(f"its weights do not fit the architecture: {reason}", where=str(path))
