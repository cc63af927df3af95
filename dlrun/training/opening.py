"""A trained model opened from an untrusted checkpoint, with its data or with other data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlrun.blocks.teachers import Taught
from dlrun.config.keys import SPLITS, TEACHER_KEY, Config, may_change_at_evaluation
from dlrun.config.loading import config_from_plain
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.data.image_files.finding import printable
from dlrun.data.preparation import Preparation
from dlrun.errors import CheckpointRefused, UserError, in_full, shortened
from dlrun.run_folders.run import Run
from dlrun.system.file_names import meant_file
from dlrun.system.progress import Progress, no_progress
from dlrun.training.checkpoint import Checkpoint, load_checkpoint
from dlrun.training.checkpoint_entries import (
    WhichWeights,
    changed_data,
    config_of,
    epochs_of,
    is_of_best,
    is_shape,
    load_weights,
    misfit,
    take_class_weights,
    which_weights,
    with_weights,
)
from dlrun.training.copies import Apart, Copies
from dlrun.training.devices import lack_of_memory
from dlrun.training.fixed_options import refuse_fixed_options
from dlrun.training.hardware import Hardware
from dlrun.training.layers import TooManyWeights, skeleton
from dlrun.training.not_finite import weight_not_finite
from dlrun.training.plan import Plan
from dlrun.training.plan_making import make_plan
from dlrun.training.provenance import (
    FOR_EVALUATION,
    Misfit,
    refuse_stand_ins,
    said_of_other_code,
    suspecting_own_parts,
)
from dlrun.training.teachers import (
    decision_alike,
    recorded_digest,
    refuse_another_teacher,
    taught_by,
)
from dlrun.training.trained import Trained
from dlrun.training.trained_on import JUDGE_ALL, refuse_other_data, trained_on_of
from dlrun.training.weights_file import file_of

_A_CHECKPOINT = "name a run, or a checkpoint such as its best.pt"


def open_checkpoint(
    path: Path,
    run: Run | None,
    overrides: Sequence[str],
    parts: Parts,
    data_dir: Path,
    progress: Progress = no_progress,
    warn: Callable[[str], None] = lambda text: None,
    weights: WhichWeights | None = None,
) -> tuple[Trained, Checkpoint]:
    """Open the trained model in an untrusted checkpoint file, with its data.

    `warn` is told when memory suffices for fewer examples at once only. `weights` are those to take of a run
    that averaged them, by default the ones that its `monitor` chose.
    Raises CheckpointRefused if its entries contradict each other, UserError if an override or the data
    does not fit it, or if an override leads to other data than those of training.
    """
    plan, preprocessing, saved = open_plan(
        path, overrides, parts, data_dir, is_data_needed=True, weights=weights
    )
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
    hardware = replace(plan.hardware(loaded, saved.environment), warn=warn)
    model, epochs = open_model(plan, hardware, saved, path), epochs_of(saved.state)
    found = Trained(plan, loaded, hardware, model, max(epochs), run, epochs=epochs)
    found = replace(found, weights_taken=which_weights(saved), is_best=is_of_best(saved.state))
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
    weights: WhichWeights | None = None,
) -> tuple[Trained, Checkpoint]:
    """Open the trained model in an untrusted checkpoint file, with all examples of another file or folder.

    They are the split `given`. The training data are opened too if they are at hand, for baselines. Raises
    as `open_checkpoint` does, and UserError for a file without targets.
    """
    if any(text.split("=")[0] == "limit" for text in overrides):
        raise UserError("every example of other data is judged, so that limit has no effect")
    plan, preprocessing, saved = open_plan(path, overrides, parts, data_dir, weights=weights)
    trained_on, data = trained_on_of(saved, path), plan.data
    if not data.read_labelled:
        what = f"{plan.config.dataset.name} reads no files with targets, by which predictions could be judged"
        raise UserError(what, fix="predict without judging: dlrun predict RUN FILE")
    if not source.exists():
        raise UserError(f"there is no file or folder {in_full(source)}{meant_file(source)}")
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
    no_baselines, validated_on = "", None
    try:
        training = plan.load(preprocessing, progress)
    except (UserError, OSError) as error:
        no_baselines = f"the training data cannot be read: {_said(error)}"
    else:
        if training.fingerprint == saved.data.get("fingerprint"):
            loaded.splits["train"] = training["train"]
            validated_on = training["valid"].keys if "valid" in training.splits else None
        else:
            no_baselines = "the training data have changed since"
    data.notes[:] = notes  # those of the training data were told at training
    hardware = replace(plan.hardware(), warn=warn)
    model, epochs = open_model(plan, hardware, saved, path), epochs_of(saved.state)
    found = Trained(plan, loaded, hardware, model, max(epochs), run, epochs=epochs)
    of_given = {"given": name, "source": printable(source), "no_baselines": no_baselines}
    found = replace(found, weights_taken=which_weights(saved), is_best=is_of_best(saved.state))
    found = replace(found, trained_on=trained_on, validated_on=validated_on)
    return replace(found, **of_given), saved  # type: ignore[arg-type]


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
    path: Path,
    overrides: Sequence[str],
    parts: Parts,
    data_dir: Path,
    *,
    is_data_needed: bool = False,
    weights: WhichWeights | None = None,
) -> tuple[Plan, Preparation, Checkpoint]:
    """The plan and the preprocessing of a checkpoint file, checked for consistency; no data is read.

    With `is_data_needed` a missing file of them is refused. The model in the state of the checkpoint has
    those of its `weights` that are asked for. Raises as `open_checkpoint` does.
    """
    saved = with_weights(load_checkpoint(path), path, weights)
    config = _config(saved, path, overrides, parts)
    refuse_stand_ins(saved, path, config, parts, FOR_EVALUATION)
    with suspecting_own_parts(parts):
        plan, preprocessing = _open_plan(
            saved,
            path,
            config,
            parts,
            data_dir,
            is_as_saved=not overrides,
            is_data_needed=is_data_needed,
        )
    if note := said_of_other_code(saved, config, parts):
        plan.data.notes.append(note)
    bring_teacher(plan, preprocessing, recorded_digest(plan, saved, path))
    return plan, preprocessing, saved


def bring_teacher(plan: Plan, preprocessing: Preparation, recorded: str = "") -> None:
    """Let the teacher of a loss, if it has one, be opened when it is first asked.

    Raises ConfigError then for a file that is no checkpoint, of other classes or of inputs that are prepared
    otherwise, and for another one than that of the `recorded` SHA-256.
    """
    if plan.loss.teacher:
        plan.loss.teacher.opens_by(partial(_taught, plan, preprocessing, plan.loss.teacher.source, recorded))


def _taught(plan: Plan, preprocessing: Preparation, source: str, recorded: str) -> Taught:
    try:
        path = file_of(Path(source), _A_CHECKPOINT)
        # Parts are tried on a gradient, and what first asks the teacher may compute without any.
        with torch.inference_mode(False), torch.enable_grad():
            theirs, prepared, saved = open_plan(path, ["device=cpu"], plan.parts, plan.data_dir)
        refuse_another_teacher(source, saved.digest, recorded)
        decision = decision_alike(plan, preprocessing, theirs, prepared, source)
        model = Apart(theirs.build, theirs.config.seeds)
        load_weights(model, saved.state["model"], path)
    except UserError as error:
        what = f"the teacher cannot be opened: {error.inline}"
        fix = error.fix or _A_CHECKPOINT
        raise plan.config.refuse([plan.config.mistake(TEACHER_KEY, what, fix)]) from error
    return taught_by(decision, model.to(plan.device, plan.dtype), plan.device, saved, path)


def _open_plan(
    saved: Checkpoint,
    path: Path,
    config: Config,
    parts: Parts,
    data_dir: Path,
    *,
    is_as_saved: bool,
    is_data_needed: bool,
) -> tuple[Plan, Preparation]:
    """The plan and the preprocessing of a checkpoint; `is_as_saved` is False if its config was overridden."""
    try:
        known, model_state = saved.data["known"], saved.state["model"]
        if not isinstance(known, dict):  # without it the files that the config names would be opened
            raise TypeError("known")
        if not all(isinstance(weights, dict) for weights in model_state):
            raise TypeError("model")
        if len(model_state) != len(config.seeds):
            raise misfit(f"it has {len(model_state):,} copies of them for {len(config.seeds):,} seeds", path)
        most = _most_weights(model_state)
        plan = make_plan(config, parts, data_dir, known, most, is_data_needed=is_data_needed)
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
        raise misfit("it has more than are in the file", path) from None
    except (LookupError, TypeError, ArithmeticError, ValueError, AttributeError) as error:
        raise CheckpointRefused(f"it lacks an entry: {shortened(error)}", where=str(path)) from None
    take_class_weights(plan.loss, saved, path)
    _refuse_too_large(plan, path)
    if classes != plan.data.classes or not is_shape(shape) or shape != plan.data.plain_shape:
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


def _config(saved: Checkpoint, path: Path, overrides: Sequence[str], parts: Parts) -> Config:
    """The config in a checkpoint, with overrides of the keys that may change at evaluation."""
    given = {text.split("=")[0] for text in overrides}
    keys = {key.split(".")[0] for key in given}
    fixed = {key.split(".")[0] for key in given if not may_change_at_evaluation(key)}
    if fixed:
        said = ", ".join(sorted(fixed))
        raise UserError(f"{said} cannot be changed at evaluation: the model is what it is")
    before = config_of(saved, path, parts)
    plain = before.plain()
    if "metrics" in keys:  # these keys name metrics, and have no effect at evaluation
        plain |= {"expect": {}, "monitor": None, "patience": None}
    config = config_from_plain(plain, str(path), overrides, parts)
    refuse_fixed_options(before, config, parts)
    return config


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
