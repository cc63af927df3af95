"""What a dataset is to dlrun: examples in splits, how they are prepared, and what is known at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from dlrun.system.progress import Progress
from dlrun.system.randomness import generator

Task = Literal["classification", "regression"]
EVALUATION_BATCH = 1024  # examples at a time where nothing is learnt; part of what fixes the last bits


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
        """The inputs of some examples (or of all) as they came, on the CPU."""
        ...


@dataclass(frozen=True)
class Examples:
    """Inputs (n, …) as compact as they come, and targets: classes (n,) int64, or figures (n, d).

    `aside` is what is known of each example beyond that, for pictures and baselines: the model never
    sees it. "date" holds seconds since 1970, the others (n,) figures.

    With `rows` the inputs are a file on the disk, mapped into memory: those of example i stand at
    inputs[rows[i]], and `digest` identifies what the file holds.
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
        """All inputs from first to last, so few at a time that they fit into memory."""
        for indices in torch.arange(len(self)).split(EVALUATION_BATCH):
            yield self.raw(indices)


@dataclass(frozen=True)
class Preprocessing:
    """What is done to every input: `fill` stands in for nan, then (input - offset) / scale, to float32.

    None leaves a step out.
    """

    offset: Tensor | None = None
    scale: Tensor | None = None
    fill: Tensor | None = None

    def __call__(self, inputs: Tensor) -> Tensor:
        # Figures such as a time in seconds lose their digits in float32 unless centred first.
        prepared = inputs if inputs.dtype == torch.float64 else inputs.to(torch.float32)
        if self.fill is not None:
            prepared = torch.where(prepared.isnan(), self.fill, prepared)
        if self.offset is not None:
            prepared = prepared - self.offset if prepared is inputs else prepared.sub_(self.offset)
        if self.scale is not None:
            factor = self.scale.reciprocal()  # a division takes as long as all the rest
            prepared = prepared * factor if prepared is inputs else prepared.mul_(factor)
        return prepared.to(torch.float32)

    def suits(self, shape: tuple[int, ...]) -> bool:
        """Whether it leaves inputs of one shape in that shape, and finite: it may come from anyone.

        An infinite scale is that of a feature which was the same in all examples: it becomes 0.
        """
        try:
            steps = [step for step in self.state_dict().values() if step is not None]
            shaped = all(not step.expand(shape).is_complex() and not step.isnan().any() for step in steps)
            finite = [step for step in (self.offset, self.fill) if step is not None]
            sound = all(bool(step.isfinite().all()) for step in finite)
            return shaped and sound and (self.scale is None or bool(self.scale.all()))
        except (AttributeError, RuntimeError):
            return False

    def to(self, device: torch.device) -> Preprocessing:
        return Preprocessing(
            **{
                name: None if step is None else on_device(step, device)
                for name, step in self.state_dict().items()
            }
        )

    def state_dict(self) -> dict[str, Tensor | None]:
        return {"offset": self.offset, "scale": self.scale, "fill": self.fill}


def as_it_is(training: Examples) -> Preprocessing:
    """No preprocessing, whatever the training examples are."""
    return Preprocessing()


@dataclass(frozen=True)
class Data:
    """What a dataset is, known at once; `read` loads its examples when they are first needed.

    `splits` names what `read` gives, "train" among them. `valid_fraction` of the training examples
    (of each class, for classes) become the split "valid", chosen by `seed`, the same for all copies.
    `fit` looks at the remaining training examples and says how every input is preprocessed.

    Where `read` must have something done first that takes long, `prepare` does it, and shows its
    progress by going through its items by way of the function it is given. `read_new` reads a file that
    is to be predicted: a name for each example, and raw inputs (n, *input_shape); without it, dlrun
    reads images and CSV files of figures by `input_shape`. `known` are plain values that a checkpoint
    keeps, and hands to the dataset's function again where it takes a second argument of that name.
    """

    task: Task
    input_shape: tuple[int, ...]
    read: Callable[[], Mapping[str, Examples]]
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()  # the names of an input's figures
    target: str = ""  # the name of a regression's target
    unit: str = ""  # of a regression's target, such as °F
    targets: int = 1  # figures per example in a regression
    scaling: tuple[float, float] | None = (
        None  # mean and deviation: the loss sees (target - mean) / deviation
    )
    baselines: tuple[str, ...] = ()  # those of `aside` that are guesses of the target
    splits: tuple[str, ...] = ("train", "test")
    fit: Callable[[Examples], Preprocessing] = as_it_is
    valid_fraction: float = 0.0
    seed: int = 0
    prepare: Callable[[Progress], None] | None = None
    read_new: Callable[[Path], tuple[list[str], Tensor]] | None = None
    known: Mapping[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # what a person should know, complete once it is read

    @property
    def evaluation_split(self) -> str | None:
        """The split that is measured while training: valid, or without one test."""
        if self.valid_fraction or "valid" in self.splits:
            return "valid"
        return "test" if "test" in self.splits else None


def carve(examples: Examples, fraction: float, seed: int, *, by_class: bool) -> tuple[Examples, Examples]:
    """The examples as (what remains, a random `fraction`), of each class alike where `by_class`.

    Both keep the order of the examples. The choice depends on `seed` alone.
    """
    chooser = generator("valid", seed, 0)
    labels = examples.targets if by_class else torch.zeros(len(examples), dtype=torch.long)
    chosen = torch.zeros(len(examples), dtype=torch.bool)
    for label in labels.unique().tolist():
        members = (labels == label).nonzero().squeeze(1)
        count = round(fraction * len(members))
        chosen[members[torch.randperm(len(members), generator=chooser)[:count]]] = True
    return examples.take((~chosen).nonzero().squeeze(1)), examples.take(chosen.nonzero().squeeze(1))


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device, as wide as the device allows."""
    return tensor.to(device, torch.float32 if _too_wide(tensor, device) else tensor.dtype)


def _too_wide(tensor: Tensor, device: torch.device) -> bool:
    return device.type == "mps" and tensor.dtype == torch.float64
