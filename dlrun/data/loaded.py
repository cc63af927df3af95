"""The splits of a dataset on the device, in memory or streamed, preprocessed a batch at a time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from dlrun.data.examples import Data, Examples, Preprocessing, Split, carve, limited, on_device
from dlrun.data.misfits import OfTargets, refuse_misfits, said_kind, undeclared
from dlrun.errors import UserError
from dlrun.system import machine
from dlrun.system.progress import Progress, no_progress


class Loaded:
    """The splits of a dataset on the device, preprocessed a batch at a time.

    `preprocessing` is that of a checkpoint; without one it is fitted on the training split. `of_targets`
    says what is wrong with the targets of a split. `limit` keeps a share of each split, or so many examples
    of it; the fingerprint is that of all. `dtype` is that of prepared inputs. Raises UserError for an empty
    split, missing files, and for examples that are not as `data` states them.
    """

    def __init__(
        self,
        data: Data,
        device: torch.device,
        preprocessing: Preprocessing | None = None,
        progress: Progress = no_progress,
        of_targets: OfTargets = lambda targets: "",
        limit: float | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if data.prepare:
            data.prepare(progress)
        started = time.monotonic()
        read = data.read()
        self.seconds = time.monotonic() - started  # that reading took
        if not isinstance(read, Mapping):
            raise UserError(f"read() returned {said_kind(read)} instead of a dict of splits")
        examples = dict(read)
        refuse_misfits(data, examples, of_targets)
        self.undeclared = undeclared(data, examples)
        if data.valid_fraction and "valid" not in examples:
            examples["train"], examples["valid"] = carve(
                examples["train"], data.valid_fraction, data.seed, by_class=bool(data.classes)
            )
        self.fingerprint = _fingerprint(examples)
        if limit is not None:
            examples = {name: limited(some, limit, data.seed) for name, some in examples.items()}
        for name, some in examples.items():
            if len(some) == 0:
                fix = "change dataset.valid_fraction" if data.valid_fraction else ""
                raise UserError(f"the {name} split is empty", fix=fix)
        self.preprocessing = preprocessing or data.fit(examples["train"])
        placed = self.preprocessing.to(device, dtype)
        fits = sum(_size(some) for some in examples.values()) <= _room(device)
        self.splits: dict[str, Split] = {}
        for name, some in examples.items():
            # On the CPU a memory-mapped file is in memory already, as far as there is room.
            stays = some.rows is not None if device.type == "cpu" else not fits
            self.splits[name] = (Streamed if stays else InMemory)(some, placed, device)

    def __getitem__(self, name: str) -> Split:
        if name not in self.splits:
            raise UserError(f"the dataset has no {name} split (there are: {', '.join(self.splits)})")
        return self.splits[name]


class InMemory:
    """A split whose raw inputs are on the device; each batch is preprocessed when it is used."""

    def __init__(self, examples: Examples, preprocessing: Preprocessing, device: torch.device) -> None:
        if examples.rows is None:
            self.inputs = on_device(examples.inputs, device)
        else:
            self.inputs = torch.cat([on_device(piece, device) for piece in examples.pieces()])
        self.targets = _as_precise(examples.targets, preprocessing.dtype, device)
        self.aside = examples.aside
        self._preprocess = preprocessing

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        flat = indices.flatten()
        inputs = self._preprocess(self.inputs.index_select(0, flat))
        return shaped_like(indices, inputs), shaped_like(indices, self.targets.index_select(0, flat))

    def raw(self, indices: Tensor | None = None) -> Tensor:
        return (self.inputs if indices is None else self.inputs[indices.to(self.inputs.device)]).cpu()


class Streamed:
    """A split whose inputs stay in memory or on the disk and go to the device a batch at a time.

    For a CUDA device they go through pinned memory on a side stream, so that the next batch is read and
    copied while the device computes.
    """

    def __init__(self, examples: Examples, preprocessing: Preprocessing, device: torch.device) -> None:
        self.examples, self.device = examples, device
        self.targets = _as_precise(examples.targets, preprocessing.dtype, device)
        self.aside = examples.aside
        self._preprocess = preprocessing
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        flat = indices.flatten()
        inputs = self._preprocess(on_device(self.examples.raw(flat.cpu()), self.device))
        return shaped_like(indices, inputs), shaped_like(indices, self.targets.index_select(0, flat))

    def ahead(self, some: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `batch` for each of some indices, which are on the CPU, and prefetch the next one."""
        if self._stream is None:
            yield from map(self.batch, some)
            return
        waiting: tuple[Tensor, Tensor] | None = None
        self._stream.wait_stream(torch.cuda.current_stream(self.device))  # it copies the targets
        for indices in some:
            with torch.cuda.stream(self._stream):
                flat = indices.flatten()
                inputs = self.examples.raw(flat).pin_memory().to(self.device, non_blocking=True)
                places = flat.pin_memory().to(self.device, non_blocking=True)
                targets = self.targets.index_select(0, places)
                under_way = (shaped_like(indices, self._preprocess(inputs)), shaped_like(indices, targets))
            if waiting:
                yield waiting
            # Wait only here: the previous step has been queued in the meantime.
            current = torch.cuda.current_stream(self.device)
            current.wait_stream(self._stream)
            for tensor in under_way:
                tensor.record_stream(current)
            waiting = under_way
        if waiting:
            yield waiting

    def raw(self, indices: Tensor | None = None) -> Tensor:
        return self.examples.raw(torch.arange(len(self)) if indices is None else indices.cpu())


def shaped_like(indices: Tensor, examples: Tensor) -> Tensor:
    """Reshape examples (n, …) that were looked up at `indices` to the shape of the indices."""
    return examples.view(*indices.shape, *examples.shape[1:])


def _as_precise(targets: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Targets on a device, as float64 if the inputs are and they are no whole numbers."""
    is_float = targets.is_floating_point() and dtype == torch.float64
    return on_device(targets.to(dtype) if is_float else targets, device)


def _size(examples: Examples) -> int:
    """The bytes that the inputs take on the device."""
    return len(examples) * examples.inputs[:1].numel() * examples.inputs.element_size()


def _room(device: torch.device) -> int:
    """The bytes of device memory that inputs may take."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    return machine.memory() // 4


def _fingerprint(source: Mapping[str, Examples]) -> str:
    """The first 16 hex digits of the SHA-256 over all raw examples and their splits."""
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
