"""Examples as tensors on the device, and the order in which they are seen."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from dlrun.errors import UserError
from dlrun.randomness import generator

Task = Literal["classification", "regression"]
EVALUATION_BATCH = 1024  # examples at a time where nothing is learnt; part of what fixes the last bits


class Split(Protocol):
    """Some examples of a dataset: training, validation or test."""

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Preprocessed inputs (*indices.shape, *input shape) and targets (*indices.shape, …)."""
        ...


@dataclass(frozen=True)
class Examples:
    """Inputs (n, …) as compact as they come, and targets: classes (n,) int64, or figures (n, d)."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, indices: Tensor) -> Examples:
        return Examples(self.inputs[indices], self.targets[indices])


@dataclass(frozen=True)
class Preprocessing:
    """What is done to every input: (input - offset) / scale, in float32. None leaves a step out."""

    offset: Tensor | None = None
    scale: Tensor | None = None

    def __call__(self, inputs: Tensor) -> Tensor:
        prepared = inputs.to(torch.float32)
        if self.offset is not None:
            prepared = prepared - self.offset
        if self.scale is not None:
            prepared = prepared / self.scale
        return prepared

    def suits(self, shape: tuple[int, ...]) -> bool:
        """Whether it leaves inputs of one shape in that shape: it may come from anyone's checkpoint."""
        try:
            for step in (self.offset, self.scale):
                if step is not None:
                    step.expand(shape)
        except (AttributeError, RuntimeError):
            return False
        return True

    def to(self, device: torch.device) -> Preprocessing:
        return Preprocessing(*(None if t is None else t.to(device) for t in (self.offset, self.scale)))

    def state_dict(self) -> dict[str, Tensor | None]:
        return {"offset": self.offset, "scale": self.scale}


def as_it_is(inputs: Tensor) -> Preprocessing:
    """No preprocessing, whatever the training inputs are."""
    return Preprocessing()


@dataclass(frozen=True)
class Data:
    """What a dataset is, known at once; `read` loads its examples when they are first needed.

    `splits` names what `read` gives, "train" among them. `valid_fraction` of the training examples
    (of each class, for classes) become the split "valid", chosen by `seed`, the same for all copies.
    `fit` looks at the remaining training inputs and says how every input is preprocessed.
    """

    task: Task
    input_shape: tuple[int, ...]
    read: Callable[[], Mapping[str, Examples]]
    classes: tuple[str, ...] = ()
    unit: str = ""  # of a regression's target, such as °F
    targets: int = 1  # figures per example in a regression
    splits: tuple[str, ...] = ("train", "test")
    fit: Callable[[Tensor], Preprocessing] = as_it_is
    valid_fraction: float = 0.0
    seed: int = 0

    @property
    def evaluation_split(self) -> str | None:
        """The split that is measured while training: valid, or without one test."""
        if self.valid_fraction or "valid" in self.splits:
            return "valid"
        return "test" if "test" in self.splits else None


class Loaded:
    """The splits of a dataset on the device, preprocessed a batch at a time.

    `preprocessing` is that of a checkpoint; without it, it is fitted on the training split.
    Raises UserError for an empty split, or files that are missing.
    """

    def __init__(self, data: Data, device: torch.device, preprocessing: Preprocessing | None = None) -> None:
        source = data.read()
        self.fingerprint = _fingerprint(source)
        examples = dict(source)
        if data.valid_fraction and "valid" not in examples:
            examples["train"], examples["valid"] = carve(
                examples["train"], data.valid_fraction, data.seed, by_class=data.task == "classification"
            )
        for name, some in examples.items():
            if len(some) == 0:
                raise UserError(f"the {name} split is empty", fix="change dataset.valid_fraction")
        self.preprocessing = preprocessing or data.fit(examples["train"].inputs)
        placed = self.preprocessing.to(device)
        self.splits = {name: InMemory(some, placed, device) for name, some in examples.items()}

    def __getitem__(self, name: str) -> InMemory:
        if name not in self.splits:
            raise UserError(f"the dataset has no {name} split (there are: {', '.join(self.splits)})")
        return self.splits[name]


class InMemory:
    """A split that lives on the device as compact as it came, and is preprocessed a batch at a time."""

    def __init__(self, examples: Examples, preprocessing: Preprocessing, device: torch.device) -> None:
        self.inputs = examples.inputs.to(device)
        self.targets = examples.targets.to(device)
        self._preprocess = preprocessing

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        flat = indices.flatten()
        inputs = self._preprocess(self.inputs.index_select(0, flat))
        targets = self.targets.index_select(0, flat)
        shape = indices.shape
        return inputs.unflatten(0, shape), targets.unflatten(0, shape)


class Batches:
    """A training split, a batch at a time, in the order in which each copy sees it.

    Gives inputs (copies, batch, …) and targets (copies, batch, …). The order is a function of a
    copy's seed and the epoch, and the same on every device; the last batch may be short. A full batch
    is the split as it stands, preprocessed once.
    """

    def __init__(
        self, split: Split, size: int | Literal["full"], seeds: Sequence[int], device: torch.device
    ) -> None:
        self.split, self.seeds, self.device = split, seeds, device
        self.size = len(split) if size == "full" else min(size, len(split))
        self._whole: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        """Steps in an epoch."""
        return steps(len(self.split), self.size)

    def shuffled(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch."""
        if self.size == len(self.split):
            yield self._everything()
            return
        order = self.order(epoch).to(self.device)
        for indices in order.split(self.size, dim=1):
            yield self.split.batch(indices)

    def order(self, epoch: int) -> Tensor:
        """The order of the examples in one epoch: a permutation for each copy, (copies, n)."""
        n = len(self.split)
        return torch.stack(
            [torch.randperm(n, generator=generator("order", seed, epoch)) for seed in self.seeds]
        )

    def _everything(self) -> tuple[Tensor, Tensor]:
        if self._whole is None:
            inputs, targets = self.split.batch(torch.arange(len(self.split), device=self.device))
            copies = len(self.seeds)
            self._whole = (inputs.expand(copies, *inputs.shape), targets.expand(copies, *targets.shape))
        return self._whole


def steps(examples: int, batch_size: int | Literal["full"]) -> int:
    """Steps in an epoch; the last batch may be short."""
    return 1 if batch_size == "full" else -(-examples // batch_size)


def in_order(split: Split, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """A split from its first example to its last: inputs (batch, …) and targets (batch, …)."""
    for indices in torch.arange(len(split), device=device).split(EVALUATION_BATCH):
        yield split.batch(indices)


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


def _fingerprint(source: Mapping[str, Examples]) -> str:
    """The first 16 hex digits of the SHA-256 of all examples, as they were read."""
    digest = hashlib.sha256()
    for name in sorted(source):
        for tensor in (source[name].inputs, source[name].targets):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
            digest.update(tensor.contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
