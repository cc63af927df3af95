"""Data, Examples, Split and Preprocessing: the types in which a dataset describes itself and its splits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from dlrun.system.progress import Progress
from dlrun.system.randomness import generator

Task = str  # the name of a file in dlrun/task/
EVALUATION_BATCH = 1024  # examples in an evaluation batch; another size changes the last bits


class Split(Protocol):
    """Some examples of a dataset: training, validation or test.

    `targets` (n, …) are on the device; `aside` (see Examples) on the CPU.
    """

    targets: Tensor
    aside: Mapping[str, Tensor]

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Preprocessed inputs (*indices.shape, *input shape) and targets (*indices.shape, …)."""
        ...

    def raw(self, indices: Tensor | None = None) -> Tensor:
        """The inputs of some examples (or of all) before preprocessing, on the CPU."""
        ...


@dataclass(frozen=True)
class Examples:
    """Raw inputs (n, …), such as uint8 pixels, and targets: classes (n,) int64, or numbers (n, d).

    `aside` holds further columns (n,) for pictures and baselines, which the model never sees; "date" is in
    seconds since 1970.

    With `rows` the inputs are a memory-mapped file: those of example i are inputs[rows[i]], and `digest`
    identifies the file's contents.
    """

    inputs: Tensor
    targets: Tensor
    aside: Mapping[str, Tensor] = field(default_factory=dict)
    rows: Tensor | None = None
    digest: str = ""

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, indices: Tensor) -> Examples:
        aside = {name: values[indices] for name, values in self.aside.items()}
        targets = self.targets[indices]
        if self.rows is not None:
            return Examples(self.inputs, targets, aside, self.rows[indices], self.digest)
        return Examples(self.inputs[indices], targets, aside)

    def raw(self, indices: Tensor) -> Tensor:
        """The inputs of some examples."""
        return self.inputs.index_select(0, indices if self.rows is None else self.rows[indices])

    def pieces(self) -> Iterator[Tensor]:
        """Yield all inputs in order, in chunks that fit into memory."""
        for indices in torch.arange(len(self)).split(EVALUATION_BATCH):
            yield self.raw(indices)


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing of every input: `fill` replaces nan, then (input - offset) / scale, as `dtype`.

    A step that is None is left out.
    """

    offset: Tensor | None = None
    scale: Tensor | None = None
    fill: Tensor | None = None
    dtype: torch.dtype = torch.float32

    def __call__(self, inputs: Tensor) -> Tensor:
        # A number such as a time in seconds loses digits in float32 unless it is centred first.
        prepared = inputs if inputs.dtype == torch.float64 else inputs.to(self.dtype)
        if self.fill is not None:
            prepared = torch.where(prepared.isnan(), self.fill, prepared)
        if self.offset is not None:
            prepared = prepared - self.offset if prepared is inputs else prepared.sub_(self.offset)
        if self.scale is not None:
            factor = self.scale.reciprocal()  # dividing would take as long as all the rest
            prepared = prepared * factor if prepared is inputs else prepared.mul_(factor)
        return prepared.to(self.dtype)

    def suits(self, shape: tuple[int, ...]) -> bool:
        """True if it keeps the shape of such inputs and can be finite; a hostile checkpoint's may not.

        An infinite scale is allowed: it maps a feature that was constant in training to 0.
        """
        try:
            steps = [step for step in self.state_dict().values() if step is not None]
            shaped = all(not step.expand(shape).is_complex() and not step.isnan().any() for step in steps)
            finite = [step for step in (self.offset, self.fill) if step is not None]
            sound = all(bool(step.isfinite().all()) for step in finite)
            return shaped and sound and (self.scale is None or bool(self.scale.all()))
        except (AttributeError, RuntimeError):
            return False

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> Preprocessing:
        """The same on a device, giving inputs of another type."""
        steps = {
            name: None if step is None else on_device(step, device)
            for name, step in self.state_dict().items()
        }
        return Preprocessing(**steps, dtype=dtype)

    def state_dict(self) -> dict[str, Tensor | None]:
        return {"offset": self.offset, "scale": self.scale, "fill": self.fill}


def as_it_is(training: Examples) -> Preprocessing:
    """No preprocessing, whatever the training examples are."""
    return Preprocessing()


@dataclass(frozen=True)
class Data:
    """A dataset's task, shapes and classes; `read` loads its examples when they are first needed.

    `splits` names the splits that `read` returns, "train" among them. `valid_fraction` of the training
    examples (stratified by class) becomes the split "valid", chosen by `seed`, the same for all copies.
    `fit` derives the preprocessing of every input from the remaining training examples.

    `prepare` does slow work before `read`, such as a download; it is given a function and reports progress
    by iterating over its items through that. `read_new` reads a file for prediction: a name for each
    example, and raw inputs (n, *input_shape); without it, dlrun reads images or CSV rows, depending on
    `input_shape`. `known` are plain values that a checkpoint stores and that are passed to the dataset's
    function again, if it has a second parameter of that name.
    """

    task: Task
    input_shape: tuple[int, ...]
    read: Callable[[], Mapping[str, Examples]]
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()  # the names of the features
    target: str = ""  # the name of a regression's target
    unit: str = ""  # of a regression's target, such as °F
    targets: int = 1  # number of targets of each example in a regression
    scaling: tuple[float, float] | None = (
        None  # mean and deviation: the loss sees (target - mean) / deviation
    )
    baselines: tuple[str, ...] = ()  # the columns of `aside` that guess the target
    splits: tuple[str, ...] = ("train", "test")
    fit: Callable[[Examples], Preprocessing] = as_it_is
    valid_fraction: float = 0.0
    seed: int = 0
    prepare: Callable[[Progress], None] | None = None
    read_new: Callable[[Path], tuple[list[str], Tensor]] | None = None
    known: Mapping[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # remarks for the user, complete after `read`

    @property
    def evaluation_split(self) -> str | None:
        """The split that is evaluated during training: valid, or without one test."""
        if self.valid_fraction or "valid" in self.splits:
            return "valid"
        return "test" if "test" in self.splits else None


def carve(examples: Examples, fraction: float, seed: int, *, by_class: bool) -> tuple[Examples, Examples]:
    """Hold out a validation split: (the rest, a random `fraction`), stratified by class if `by_class`.

    It is one fixed split, not cross-validation.
    Both keep the order of the examples. The choice depends only on `seed`.
    """
    chooser = generator("valid", seed, 0)
    labels = examples.targets if by_class else torch.zeros(len(examples), dtype=torch.long)
    chosen = torch.zeros(len(examples), dtype=torch.bool)
    for label in labels.unique().tolist():
        members = (labels == label).nonzero().squeeze(1)
        count = round(fraction * len(members))
        chosen[members[torch.randperm(len(members), generator=chooser)[:count]]] = True
    return examples.take((~chosen).nonzero().squeeze(1)), examples.take(chosen.nonzero().squeeze(1))


def limited(examples: Examples, limit: float, seed: int) -> Examples:
    """Some examples of a split, drawn at random by `seed`: a share of them, or a whole number of them."""
    wanted = limit if isinstance(limit, int) else math.ceil(limit * len(examples))
    drawn = torch.randperm(len(examples), generator=generator("limit", seed, 0))[:wanted]
    return examples.take(drawn.sort().values)


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a tensor to the device; float64 becomes float32 on a device without it."""
    return tensor.to(device, torch.float32 if _too_wide(tensor, device) else tensor.dtype)


def _too_wide(tensor: Tensor, device: torch.device) -> bool:
    return device.type == "mps" and tensor.dtype == torch.float64
