"""The comparison of an exported model with dlrun's own outputs, on examples of the data or random inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from dlrun.data.preparation import Preparation
from dlrun.data.trees import Tree, at, first_of
from dlrun.errors import RunFailed, UserError
from dlrun.system.progress import Progress, no_progress
from dlrun.training.calibration import divide
from dlrun.training.checkpoint import Checkpoint
from dlrun.training.checkpoint_entries import input_types_of, load_weights
from dlrun.training.copies import some_of
from dlrun.training.plan import Plan
from dlrun.training.trained import outputs_for

Answers = Mapping[str, Tensor]  # (n, …) by their names
TOLERANCE = 1e-4  # of the largest number of an answer, if that is above 1
FEW_DECISIONS = 1e-3  # the share that may differ, where only rounding decides between two
EXAMPLES = 64
PIECE = 9  # the last piece of 64 has one example


@dataclass(frozen=True)
class Tried:
    """Raw inputs (n, …) on which an exported model is compared: examples of a split, or random ones."""

    inputs: Tree
    split: str  # "" for random ones
    reason: str = ""  # why these are no examples

    @property
    def pieces(self) -> list[Tree]:
        """All inputs at once, and then a few at a time."""
        indices = torch.arange(len(first_of(self.inputs)))
        return [at(self.inputs, some) for some in (indices, *indices.split(PIECE))]


def inputs_to_try(
    plan: Plan, preprocessing: Preparation, saved: Checkpoint, progress: Progress = no_progress
) -> Tried:
    """The first examples of the evaluation split, or without the data random inputs of their kind."""
    notes = list(plan.data.notes)
    try:
        loaded = plan.load(preprocessing, progress)
    except (UserError, OSError) as error:
        reason = error.inline if isinstance(error, UserError) else f"{error.strerror}: {error.filename}"
        drawn = _random(plan, preprocessing, input_types_of(saved))
        return Tried(drawn, "", f"the data cannot be read: {reason}")
    finally:
        plan.data.notes[:] = notes  # those of the data were told at training
    split = plan.data.evaluation_split or "train"
    chosen = loaded[split]
    return Tried(chosen.raw_tree(torch.arange(min(EXAMPLES, len(chosen)))), split)


def _random(plan: Plan, preprocessing: Preparation, types: Mapping[str, torch.dtype]) -> Tree:
    """Random inputs (EXAMPLES, …) of the given types, or of those that `dlrun predict` reads."""
    data, stream = plan.data, torch.Generator().manual_seed(0)
    found: dict[str, Tensor] = {}
    for name, shape in data.shapes.items():
        if data.has_whole_numbers(name):
            ids = torch.randint(max(2, len(data.vocabulary)), (EXAMPLES, *shape), generator=stream)
            found[name] = ids.to(types.get(name, torch.int64))
            continue
        numbers = preprocessing.each[name].undone(torch.randn(EXAMPLES, *shape, generator=stream))
        type_of_new = torch.uint8 if len(shape) == 3 else torch.float32
        found[name] = _as(types.get(name, type_of_new), numbers)
    return found.get("", found)


def _as(dtype: torch.dtype, numbers: Tensor) -> Tensor:
    if dtype.is_floating_point:
        return numbers.to(dtype)
    ends = torch.iinfo(dtype)
    return numbers.round().clamp(ends.min, ends.max).to(dtype)


def own_answers(
    plan: Plan,
    preprocessing: Preparation,
    saved: Checkpoint,
    path: Path,
    seeds: Sequence[int],
    temperatures: Sequence[float],
    inputs: Tree,
) -> dict[str, Tensor]:
    """The answers of dlrun for raw inputs, on the CPU, as `dlrun predict` computes them.

    A run in 16 bits is computed in float32, as its exported model is.
    """
    hardware = plan.hardware()
    precision = hardware.precision if hardware.precision == "float64" else "float32"
    every = plan.model()
    load_weights(every, saved.state["model"], path)
    places = [plan.config.seeds.index(seed) for seed in seeds]
    model = some_of(every, places)
    if temperatures:
        divide(model, [temperatures[place] for place in places])
    size, hardware = plan.recipe.evaluation_batch, replace(hardware, precision=precision)
    with torch.no_grad():
        return plan.task.answers(outputs_for(model, inputs, preprocessing, hardware, size))


def compared(own: Answers, run: Callable[[Sequence[Tree]], Sequence[Answers]], tried: Tried) -> float:
    """The largest difference between dlrun's own answers and those that `run` gives for pieces of inputs.

    Numbers are compared in units of the largest one of their answer, if that is above 1. Raises RunFailed for
    a difference above TOLERANCE, and for decisions that differ.
    """
    everything, *pieces = run(tried.pieces)
    largest = 0.0
    for found in (everything, {name: torch.cat([piece[name] for piece in pieces]) for name in everything}):
        for name, wanted in own.items():
            given = found.get(name)
            if given is None or given.shape != wanted.shape or given.dtype != wanted.dtype:
                what = "missing" if given is None else f"{given.dtype} {tuple(given.shape)}"
                raise _refused(f"{name} is {what}, and not {wanted.dtype} {tuple(wanted.shape)}")
            if wanted.is_floating_point():
                largest = max(largest, _difference(name, wanted, given))
            elif (share := float((given != wanted).double().mean())) > FEW_DECISIONS:
                raise _refused(f"{name} differs for {100 * share:.2g} % of the decisions")
    return largest


def _difference(name: str, wanted: Tensor, given: Tensor) -> float:
    unequal = (given.isnan() != wanted.isnan()).any()
    apart = (given.double() - wanted.double()).abs().nan_to_num(0.0)
    most = float(apart.max()) / max(1.0, float(wanted.double().abs().nan_to_num(0.0).max()))
    if unequal or most > TOLERANCE:
        said = "nan in one and a number in the other" if unequal else f"{most:.2g}"
        raise _refused(f"the largest difference of {name} is {said}, where {TOLERANCE:g} is allowed")
    return most


def _refused(what: str) -> RunFailed:
    said = f"the file does not give dlrun's outputs, and is removed: {what}"
    return RunFailed(said, fix="take another --format")
