"""Examples as tensors on the device, and the order in which they are seen."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from dlrun.errors import UserError
from dlrun.system.randomness import generator

Task = Literal["classification", "regression"]
Watching = Callable[[Iterable[Any], int, str], Iterable[Any]]  # items, how many, what is done -> the items
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
            **{name: None if step is None else _on(step, device) for name, step in self.state_dict().items()}
        )

    def state_dict(self) -> dict[str, Tensor | None]:
        return {"offset": self.offset, "scale": self.scale, "fill": self.fill}


def as_it_is(training: Examples) -> Preprocessing:
    """No preprocessing, whatever the training examples are."""
    return Preprocessing()


def unwatched(items: Iterable[Any], total: int, what: str) -> Iterable[Any]:
    """The items, with no progress shown."""
    return items


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
    prepare: Callable[[Watching], None] | None = None
    read_new: Callable[[Path], tuple[list[str], Tensor]] | None = None
    known: Mapping[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # what a person should know, complete once it is read

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

    def __init__(
        self,
        data: Data,
        device: torch.device,
        preprocessing: Preprocessing | None = None,
        watching: Watching = unwatched,
    ) -> None:
        if data.prepare:
            data.prepare(watching)
        examples = dict(data.read())
        if data.valid_fraction and "valid" not in examples:
            examples["train"], examples["valid"] = carve(
                examples["train"], data.valid_fraction, data.seed, by_class=data.task == "classification"
            )
        for name, some in examples.items():
            if len(some) == 0:
                fix = "change dataset.valid_fraction" if data.valid_fraction else ""
                raise UserError(f"the {name} split is empty", fix=fix)
        self.fingerprint = _fingerprint(examples)
        self.preprocessing = preprocessing or data.fit(examples["train"])
        placed = self.preprocessing.to(device)
        fits = sum(_size(some) for some in examples.values()) <= _room(device)
        self.splits: dict[str, Split] = {}
        for name, some in examples.items():
            # A file that the processor maps is in memory already, as far as there is room.
            stays = some.rows is not None if device.type == "cpu" else not fits
            self.splits[name] = (Streamed if stays else InMemory)(some, placed, device)

    def __getitem__(self, name: str) -> Split:
        if name not in self.splits:
            raise UserError(f"the dataset has no {name} split (there are: {', '.join(self.splits)})")
        return self.splits[name]


class InMemory:
    """A split that lives on the device as compact as it came, and is preprocessed a batch at a time."""

    def __init__(self, examples: Examples, preprocessing: Preprocessing, device: torch.device) -> None:
        if examples.rows is None:
            self.inputs = _on(examples.inputs, device)
        else:
            self.inputs = torch.cat([_on(piece, device) for piece in examples.pieces()])
        self.targets = _on(examples.targets, device)
        self.aside = examples.aside
        self._preprocess = preprocessing

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        flat = indices.flatten()
        inputs = self._preprocess(self.inputs.index_select(0, flat))
        return _like(indices, inputs), _like(indices, self.targets.index_select(0, flat))

    def raw(self, indices: Tensor | None = None) -> Tensor:
        return (self.inputs if indices is None else self.inputs[indices.to(self.inputs.device)]).cpu()


class Streamed:
    """A split whose inputs stay where they are, and go to the device a batch at a time.

    To a CUDA device they go by way of pinned memory and a stream of their own, so that the batch to come is
    fetched and copied while the device computes.
    """

    def __init__(self, examples: Examples, preprocessing: Preprocessing, device: torch.device) -> None:
        self.examples, self.device = examples, device
        self.targets = _on(examples.targets, device)
        self.aside = examples.aside
        self._preprocess = preprocessing
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        flat = indices.flatten()
        inputs = self._preprocess(_on(self.examples.raw(flat.cpu()), self.device))
        return _like(indices, inputs), _like(indices, self.targets.index_select(0, flat))

    def ahead(self, some: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """What `batch` gives for each of some indices, which are on the CPU; the next one is under way."""
        if self._stream is None:
            yield from map(self.batch, some)
            return
        waiting: tuple[Tensor, Tensor] | None = None
        self._stream.wait_stream(torch.cuda.current_stream(self.device))  # which put the targets there
        for indices in some:
            with torch.cuda.stream(self._stream):
                flat = indices.flatten()
                inputs = self.examples.raw(flat).pin_memory().to(self.device, non_blocking=True)
                places = flat.pin_memory().to(self.device, non_blocking=True)
                targets = self.targets.index_select(0, places)
                under_way = (_like(indices, self._preprocess(inputs)), _like(indices, targets))
            if waiting:
                yield waiting
            # Only now is it waited for: the step before has been asked for in the meantime.
            current = torch.cuda.current_stream(self.device)
            current.wait_stream(self._stream)
            for tensor in under_way:
                tensor.record_stream(current)
            waiting = under_way
        if waiting:
            yield waiting

    def raw(self, indices: Tensor | None = None) -> Tensor:
        return self.examples.raw(torch.arange(len(self)) if indices is None else indices.cpu())


def _like(indices: Tensor, examples: Tensor) -> Tensor:
    """The examples (n, …) that were looked up at `indices`, in the shape of those."""
    return examples.view(*indices.shape, *examples.shape[1:])


class Batches:
    """A training split, a batch at a time, in the order in which each copy sees it.

    The order is a function of a copy's seed and the epoch, and the same on every device; the last batch
    may be short. A full batch is the split as it stands, preprocessed once.
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

    def shuffled(self, epoch: int) -> Iterator[tuple[Tensor, ...]]:
        """The batches of one epoch, as what `examples` takes.

        The indices of each, (copies, batch), which a step can look up on the device; of a split that streams
        and of a full batch inputs and targets.
        """
        if self.size == len(self.split):
            yield self._everything()
        elif isinstance(self.split, Streamed):
            yield from self.split.ahead(self.order(epoch).split(self.size, dim=1))
        else:
            for indices in self.order(epoch).to(self.device).split(self.size, dim=1):
                yield (indices,)

    def examples(self, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs (copies, batch, …) and targets (copies, batch, …) of one batch."""
        if len(batch) == 2:
            return batch
        return self.split.batch(*batch)

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


def _on(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device, as wide as the device allows."""
    return tensor.to(device, torch.float32 if _too_wide(tensor, device) else tensor.dtype)


def _too_wide(tensor: Tensor, device: torch.device) -> bool:
    return device.type == "mps" and tensor.dtype == torch.float64


def _size(examples: Examples) -> int:
    """The bytes that the inputs of some examples take."""
    return len(examples) * examples.inputs[:1].numel() * examples.inputs.element_size()


def _room(device: torch.device) -> int:
    """The bytes of a device that inputs may take."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4


def _fingerprint(source: Mapping[str, Examples]) -> str:
    """The first 16 hex digits of the SHA-256 of all examples, raw, and of the splits they are in."""
    digest = hashlib.sha256()
    for name in sorted(source):
        examples = source[name]
        if examples.rows is not None:
            digest.update(f"{name} {examples.digest} ".encode())
        inputs = examples.inputs if examples.rows is None else examples.rows
        aside = (examples.aside[key] for key in sorted(examples.aside))
        for tensor in (inputs, examples.targets, *aside):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
            digest.update(tensor.contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
