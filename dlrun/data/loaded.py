"""The splits of a dataset on the device, in memory or streamed, preprocessed a batch at a time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from dlrun.data.devices import memory_of, on_device, overlaps
from dlrun.data.example_weights import with_weights
from dlrun.data.examples import Data, Examples, Split
from dlrun.data.gather import Gather
from dlrun.data.hold_out import carve, limited, with_fold
from dlrun.data.misfits import (
    OfTargets,
    refuse_misfits,
    said_kind,
    said_type,
    undeclared,
    unsuitable_preprocessing,
)
from dlrun.data.placement import in_split_order
from dlrun.data.preparation import Preparation
from dlrun.data.preprocessing import Preprocessing
from dlrun.data.trees import Tree, leaves, mapped, named_leaves, single
from dlrun.errors import UserError
from dlrun.system import machine
from dlrun.system.progress import Progress, no_progress

_MANY = 16 * 2**20  # bytes of inputs that are worth being read again


class Loaded:
    """The splits of a dataset on the device, preprocessed a batch at a time.

    `preprocessing` is that of a checkpoint; without one it is fitted on the training split. `of_targets`
    says what is wrong with the targets of a split. With `are_inputs_targets` a model learns to give back its
    inputs: the targets of a batch are its prepared inputs. `limit` keeps a share of each split, or so many
    examples of it; the fingerprint is that of all. `digests` tell the examples that figures are of: each is
    that of the targets of a split beside train, and of their weights. `dtype` is that of prepared inputs.
    Raises UserError for an empty split, missing files, and for examples that are not as `data` states them.

    With `given` these are the splits, all of them, and `data` reads nothing.
    """

    def __init__(
        self,
        data: Data,
        device: torch.device,
        preprocessing: Preparation | None = None,
        progress: Progress = no_progress,
        of_targets: OfTargets = lambda targets: "",
        limit: float | None = None,
        dtype: torch.dtype = torch.float32,
        are_inputs_targets: bool = False,
        given: Mapping[str, Examples] | None = None,
    ) -> None:
        if data.prepare and given is None:
            data.prepare(progress)
        started = time.monotonic()
        read = data.read() if given is None else given
        self.seconds = time.monotonic() - started  # that reading took
        if not isinstance(read, Mapping):
            raise UserError(f"read() returned {said_kind(read)} instead of a dict of splits")
        examples = dict(read)
        refuse_misfits(data, examples, of_targets, are_given=given is not None)
        self.undeclared = undeclared(data, examples)
        if data.fold and given is None:
            examples |= with_fold(data, data.fold, examples)
        elif data.valid_fraction and "valid" not in examples and given is None:
            examples["train"], examples["valid"] = carve(
                examples["train"], data.valid_fraction, data.seed, by_class=bool(data.classes)
            )
        self.fingerprint = _fingerprint(examples)
        examples = in_split_order(examples)
        if limit is not None:
            examples = {name: limited(some, limit, data.seed) for name, some in examples.items()}
        self.digests = {name: _digest(some) for name, some in examples.items() if name != "train"}
        for name, some in examples.items():
            if len(some) == 0 and given is not None:
                raise UserError(f"{name} holds no example")
            if len(some) == 0:
                fix = "change dataset.valid_fraction" if data.valid_fraction else ""
                raise UserError(f"the {name} split is empty", fix=fix)
            if some.weights is not None and not bool((some.weights > 0).any()):
                what = f"all {len(some):,} examples of {name} have weight 0, so that nothing of it counts"
                raise UserError(what, fix="leave them out, or give some a weight above 0")
        self.preprocessing = preprocessing or _fitted(data, examples["train"])
        self._placed = placed = self.preprocessing.to(device, dtype)
        fits = sum(_size(some) for some in examples.values()) <= _room(device)

        def held(some: Examples) -> Split:
            # On the CPU a memory-mapped file is in memory already, as far as there is room.
            stays = some.rows is not None if device.type == "cpu" else not fits
            return (Streamed if stays else InMemory)(some, placed, device, are_inputs_targets)

        self.splits: dict[str, Split] = {name: held(some) for name, some in examples.items()}
        self._train, self._held = examples.get("train"), held
        how = (no_progress, of_targets, limit, dtype, are_inputs_targets)
        self._again = partial(Loaded, data, device, self.preprocessing, *how)
        self._stored: Split | None = None
        self._refused: dict[str, UserError] = {}

    def let_go_of_training(self) -> None:
        """Let go of many training inputs in memory, which are read again should anything ask for them."""
        split, train = self.splits.get("train"), self._train
        if not isinstance(split, InMemory) or split.device.type != "cpu" or train is None:
            return
        if train.stored is not None:
            return
        if sum(some.nbytes for some in leaves(split.inputs)) >= _MANY:
            self._train = None
            split.let_go(self._training_inputs)

    def _training_inputs(self) -> Tree:
        """The training inputs, read again. Raises UserError if the data have changed."""
        again = self._again()
        split = again["train"]
        if again.fingerprint != self.fingerprint or not isinstance(split, InMemory):
            raise UserError("the training data have changed since they were read")
        return split.inputs

    def stored(self) -> Split:
        """The training split with all that is stored of its images, of which the inputs are the centres."""
        if self._train is None or self._train.stored is None:
            return self["train"]
        if self._stored is None:
            self._stored = self._held(replace(self._train, inputs=self._train.stored))
        return self._stored

    def leave_out(self, trained_on: Tensor) -> dict[str, int]:
        """Leave out what was trained on, by its keys, of every split but train, of which only that stays.

        Gives the number of examples left out of each split. One of which most were trained on is refused
        when it is asked for; one that states no keys stays, and so does a train that was never trained on.
        """
        left_out = {}
        for name, split in self.splits.items():
            if split.keys is None:
                continue
            seen = torch.isin(split.keys, trained_on)
            kept = (seen if name == "train" else ~seen).nonzero().squeeze(1)
            if len(kept) == len(split) or (name == "train" and not len(kept)):
                continue
            left_out[name] = len(split) - len(kept)
            fix = "judge new examples with dlrun eval RUN --on FILE, or train anew"
            if name != "train" and 2 * len(kept) < len(split):
                was = f"{left_out[name]:,} of the {len(split):,} {name} examples were trained on"
                self._refused[name] = UserError(f"{was}: the data have changed since", fix=fix)
            elif split.weights is not None and not bool((split.weights.cpu()[kept] > 0).any()):
                was = f"all {name} examples that were not trained on have weight 0"
                self._refused[name] = UserError(f"{was}: the data have changed since", fix=fix)
            else:
                self.splits[name] = Chosen(split, kept)
        return left_out

    def pixel_scale(self, of: str) -> Preprocessing:
        """The preprocessing of images whose pixels are from 0 to 1, on the device.

        Raises UserError, for an augmentation `of` that name, unless inputs are pixels from 0 to 255.
        """
        first = self["train"].raw(torch.zeros(1, dtype=torch.long))
        if first.dtype != torch.uint8:
            what = f"{of} changes pixels from 0 to 255 (uint8), but the inputs are {said_type(first)}"
            fix = "let the dataset give uint8 pixels, and put them on another scale in its fit"
            raise UserError(f"{what}, whose black and white it cannot know", fix=fix)
        return self._placed.each[""].in_unit(255.0)

    def __getitem__(self, name: str) -> Split:
        if name in self._refused:
            raise self._refused[name]
        if name not in self.splits:
            raise UserError(f"the dataset has no {name} split (there are: {', '.join(self.splits)})")
        return self.splits[name]


def _fitted(data: Data, training: Examples) -> Preparation:
    """The preprocessing that a dataset derives from its training examples. Raises UserError if it is none."""
    fitted = data.fit(training)
    if mistake := unsuitable_preprocessing(data, fitted):
        raise UserError(mistake)
    return Preparation.of(fitted, data)


class _Split:
    """A split with its targets on the device; its inputs are prepared when they are used."""

    def __init__(
        self,
        examples: Examples,
        preparation: Preparation,
        device: torch.device,
        are_inputs_targets: bool = False,
    ) -> None:
        self.device, self.aside = device, examples.aside
        self.keys, self.origin = examples.keys, examples.origin
        self._prepare, self._are_inputs_targets = preparation, are_inputs_targets
        dtype = next((own.dtype for own in preparation.each.values() if own.dtype.is_floating_point), None)
        self._targets = mapped(lambda targets: _as_precise(targets, dtype, device), examples.targets)
        weights = examples.weights
        precise = torch.float64 if dtype == torch.float64 else torch.float32
        self.weights = None if weights is None else on_device(weights.to(precise), device)
        self._count = len(examples)
        self._hold(examples)

    def _hold(self, examples: Examples) -> None:
        """Keep the inputs of the examples where they are to stay."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self._count

    @property
    def targets(self) -> Tensor:
        return single(self._targets, "the targets")

    def batch(self, indices: Tensor) -> tuple[Tree, Tree]:
        flat = indices.flatten()
        inputs = self._prepare(self._inputs_at(flat))
        return self._shaped(indices, flat, inputs)

    def targets_at(self, indices: Tensor) -> Tree:
        return self.batch(indices)[0] if self._are_inputs_targets else self._looked_up(indices)

    def _shaped(self, indices: Tensor, flat: Tensor, inputs: Tree) -> tuple[Tree, Tree]:
        """Prepared inputs (m, …) and their targets, with the shape of the indices in front."""
        inputs = mapped(lambda some: shaped_like(indices, some), inputs)
        targets = inputs
        if not self._are_inputs_targets:
            targets = mapped(lambda some: shaped_like(indices, some), self._looked_up(flat))
        if self.weights is None:
            return inputs, targets
        return inputs, with_weights(targets, shaped_like(indices, self.weights.index_select(0, flat)))

    def _looked_up(self, flat: Tensor) -> Tree:
        return mapped(lambda targets: targets.index_select(0, flat), self._targets)

    def raw(self, indices: Tensor | None = None) -> Tensor:
        return single(self.raw_tree(torch.arange(len(self)) if indices is None else indices))

    def _inputs_at(self, flat: Tensor) -> Tree:
        """Raw inputs of some examples, on the device."""
        raise NotImplementedError

    def raw_tree(self, indices: Tensor) -> Tree:
        raise NotImplementedError


class InMemory(_Split):
    """A split whose raw inputs are on the device; each batch is preprocessed when it is used."""

    def _hold(self, examples: Examples) -> None:
        self._inputs: Tree | None
        if examples.rows is None:
            self._inputs = mapped(lambda inputs: on_device(inputs, self.device), examples.inputs)
        else:
            self._inputs = torch.cat([on_device(single(piece), self.device) for piece in examples.pieces()])

    @property
    def inputs(self) -> Tree:
        """All raw inputs (n, …)."""
        if self._inputs is None:
            self._inputs = self._read()
        return self._inputs

    def let_go(self, read: Callable[[], Tree]) -> None:
        """Let go of the inputs, which `read` gives again."""
        self._inputs, self._read = None, read

    def gather(self) -> Gather | None:
        """Gather batches of single inputs and targets without weights; None of any other examples."""
        prepare = self._prepare.each.get("")
        if prepare is None or self._are_inputs_targets or self.weights is not None:
            return None
        inputs, targets = self.inputs, self._targets
        if not (isinstance(inputs, Tensor) and isinstance(targets, Tensor) and Gather.suits(inputs, prepare)):
            return None
        return Gather(inputs, targets, prepare)

    def _inputs_at(self, flat: Tensor) -> Tree:
        return mapped(lambda inputs: inputs.index_select(0, flat), self.inputs)

    def raw_tree(self, indices: Tensor) -> Tree:
        return mapped(lambda inputs: inputs[indices.to(inputs.device)].cpu(), self.inputs)


class Streamed(_Split):
    """A split whose inputs stay in memory or on the disk and go to the device a batch at a time.

    For a CUDA device they go through pinned memory on a side stream, so that the next batch is read and
    copied while the device computes.
    """

    def _hold(self, examples: Examples) -> None:
        self.examples = examples
        self._stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    def _inputs_at(self, flat: Tensor) -> Tree:
        return mapped(lambda inputs: on_device(inputs, self.device), self.examples.raw(flat.cpu()))

    def raw_tree(self, indices: Tensor) -> Tree:
        return self.examples.raw(indices.cpu())

    def ahead(self, some: Iterable[Tensor]) -> Iterator[tuple[Tree, Tree]]:
        """Yield `batch` for each of some indices, which are on the CPU, and prefetch the next one."""
        if self._stream is None:
            yield from map(self.batch, some)
            return
        waiting: tuple[Tree, Tree] | None = None
        self._stream.wait_stream(torch.cuda.current_stream(self.device))  # it copies the targets
        for indices in some:
            with torch.cuda.stream(self._stream):
                flat = indices.flatten()
                inputs = mapped(self._pinned, self.examples.raw(flat))
                under_way = self._shaped(indices, self._pinned(flat), self._prepare(inputs))
            if waiting:
                yield waiting
            # Wait only here: the previous step has been queued in the meantime.
            current = torch.cuda.current_stream(self.device)
            current.wait_stream(self._stream)
            for tree in under_way:
                for tensor in leaves(tree):
                    tensor.record_stream(current)
            waiting = under_way
        if waiting:
            yield waiting

    def _pinned(self, tensor: Tensor) -> Tensor:
        return tensor.pin_memory().to(self.device, non_blocking=True)


class Chosen:
    """Some examples of a split, by their indices (m,) in it."""

    def __init__(self, whole: Split, indices: Tensor) -> None:
        self._whole, self._indices, self.device = whole, indices.cpu(), whole.device
        self.aside: Mapping[str, Tensor] = {
            name: values[self._indices] for name, values in whole.aside.items()
        }
        self.keys, self.origin = (
            None if each is None else each[self._indices] for each in (whole.keys, whole.origin)
        )
        self.weights = None if whole.weights is None else whole.weights[self._indices.to(self.device)]

    def __len__(self) -> int:
        return len(self._indices)

    def _in_whole(self, indices: Tensor) -> Tensor:
        """The indices in the whole split, on the device of those given."""
        return self._indices.to(indices.device)[indices]

    def batch(self, indices: Tensor) -> tuple[Tree, Tree]:
        return self._whole.batch(self._in_whole(indices))

    @property
    def targets(self) -> Tensor:
        return self._whole.targets[self._indices.to(self.device)]

    def targets_at(self, indices: Tensor) -> Tree:
        return self._whole.targets_at(self._in_whole(indices))

    def raw(self, indices: Tensor | None = None) -> Tensor:
        return self._whole.raw(self._indices if indices is None else self._in_whole(indices))

    def raw_tree(self, indices: Tensor) -> Tree:
        return self._whole.raw_tree(self._in_whole(indices))


def shaped_like(indices: Tensor, examples: Tensor) -> Tensor:
    """Reshape examples (n, …) that were looked up at `indices` to the shape of the indices."""
    return examples.view(*indices.shape, *examples.shape[1:])


def _as_precise(targets: Tensor, dtype: torch.dtype | None, device: torch.device) -> Tensor:
    """Targets on a device, as float64 if the inputs are and they are no whole numbers."""
    is_float = targets.is_floating_point() and dtype == torch.float64
    return on_device(targets.to(dtype) if is_float else targets, device)


def _size(examples: Examples) -> int:
    """The bytes that the inputs, and what is stored around them, take on the device."""
    each = [*leaves(examples.inputs), *([] if examples.stored is None else [examples.stored])]
    if examples.rows is not None:
        return len(examples) * sum(inputs[:1].numel() * inputs.element_size() for inputs in each)
    stored = (memory_of(inputs) if overlaps(inputs) else inputs for inputs in each)
    return sum(inputs.numel() * inputs.element_size() for inputs in stored)


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
        aside = [("", examples.aside[key]) for key in sorted(examples.aside)]
        tensors = (*named_leaves(inputs, ""), *named_leaves(examples.targets, ""), *aside)
        for own, tensor in (*tensors, *_weights(examples)):
            for piece in _as_bytes(f"{name} {own}" if own else name, tensor):
                digest.update(piece)
    return digest.hexdigest()[:16]


def _digest(examples: Examples) -> str:
    """The first 16 hex digits of the SHA-256 over raw targets and weights, in the order of the examples."""
    digest = hashlib.sha256()
    for name, tensor in (*named_leaves(examples.targets, ""), *_weights(examples)):
        for piece in _as_bytes(name, tensor):
            digest.update(piece)
    return digest.hexdigest()[:16]


def _weights(examples: Examples) -> list[tuple[str, Tensor]]:
    return [] if examples.weights is None else [("weights", examples.weights)]


def _as_bytes(name: str, tensor: Tensor) -> Iterator[bytes | memoryview]:
    """Yield the name, the type, the shape and the numbers of a tensor."""
    yield f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode()
    for piece in _stored(tensor):
        yield piece.contiguous().view(torch.uint8).numpy().data


def _stored(tensor: Tensor) -> Iterator[Tensor]:
    """The numbers of a tensor; of overlapping windows each number once, in the order of the memory."""
    if not overlaps(tensor):
        yield tensor
        return
    yield torch.tensor([*tensor.shape, *tensor.stride()])
    yield memory_of(tensor)
