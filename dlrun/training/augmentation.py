"""Data augmentation of training batches: each seed draws from its own random stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from dlrun.data.example_weights import parted, with_weights
from dlrun.data.examples import Split
from dlrun.data.loaded import Loaded
from dlrun.data.preprocessing import Preprocessing
from dlrun.data.trees import Tree, joined, of_copies, single
from dlrun.system.randomness import derived_seed

Moving = Literal["none", "masks", "images"]  # the targets that lie over the pixels of the inputs


def as_they_are(targets: Tree) -> Tree:
    return targets


@dataclass(frozen=True)
class Augment:
    """An augmentation with its options, `x(inputs, generator)`, whose parameters say what it is given.

    One that takes `targets` is given them as `soften` makes them, such as shares of classes. One that takes
    `masks` moves pixels: it is given the classes (n, height, width) of the pixels, None if the targets are
    something else; if they are images, they are further channels of its inputs. One whose first parameter is
    `pixels` is given images of pixels from 0 to 1, which have been put onto the `scale` of preprocessed ones.
    One that takes `size`, the height and the width that the model gets, may be given larger images. The
    `off_epochs` last epochs of a run go without it.
    """

    name: str
    function: Callable[..., Any]
    takes: Sequence[str] = ("inputs", "generator")
    soften: Callable[[Tree], Tree] = as_they_are
    moving: Moving = "none"
    scale: Preprocessing | None = None
    size: tuple[int, ...] = ()
    off_epochs: int = 0

    @property
    def takes_size(self) -> bool:
        return "size" in self.takes

    @property
    def takes_targets(self) -> bool:
        return "targets" in self.takes

    def on(self, data: Loaded) -> Augment:
        """The same for the images of a dataset. Raises UserError if it needs pixels, which they have not."""
        return replace(self, scale=data.pixel_scale(self.name)) if "pixels" in self.takes else self

    def __call__(self, inputs: Tree, targets: Tree, generator: torch.Generator) -> tuple[Tree, Tree]:
        """Changed inputs (n, …) and targets (n, …) of a batch."""
        if self.scale is None:
            return self._changed(inputs, targets, generator)
        changed, targets = self._changed(self.scale.undone(single(inputs)), targets, generator)
        return self.scale(single(changed)), targets

    def _changed(self, inputs: Tree, targets: Tree, generator: torch.Generator) -> tuple[Tree, Tree]:
        more = (generator, self.size) if self.takes_size else (generator,)
        if self.takes_targets:
            return self.function(inputs, self.soften(targets), *more)  # type: ignore[no-any-return]
        if "masks" not in self.takes:
            return self.function(inputs, *more), targets
        if self.moving == "none":
            return self.function(inputs, None, *more)[0], targets
        own, weights = parted(targets)
        images, lying = single(inputs), single(own)
        if self.moving == "masks":
            images, lying = self.function(images, lying, *more)
        else:
            both: Tensor = self.function(torch.cat([images, lying], 1), None, *more)[0]
            images, lying = both.chunk(2, 1)
        return images, with_weights(lying, weights)


def training_split(data: Loaded, changes: Sequence[Augment]) -> Split:
    """The split to train on: with all that is stored of its images, if an augmentation takes a part."""
    return data.stored() if any(change.takes_size for change in changes) else data["train"]


class Augmentation:
    """The augmentations of a config, applied to training batches (copies, batch, …).

    Each copy draws from its own stream, so that it sees the same changes as when it trains alone.
    """

    def __init__(
        self, changes: Sequence[Augment], seeds: Sequence[int], device: torch.device, epochs: int
    ) -> None:
        self.changes, self.seeds, self.epochs = changes, seeds, epochs
        self.streams = [torch.Generator(device) for _ in seeds] if changes else []
        self._active = changes

    @classmethod
    def on(
        cls, data: Loaded, changes: Sequence[Augment], seeds: Sequence[int], device: torch.device, epochs: int
    ) -> Augmentation:
        """The augmentations for the examples of a dataset. Raises UserError if one needs pixels."""
        return cls([change.on(data) for change in changes], seeds, device, epochs)

    def begin(self, epoch: int) -> None:
        """Set every random stream to its start for the epoch, and leave out what is off in it."""
        last = range(epoch, self.epochs + 1)  # this epoch and those after it
        self._active = [change for change in self.changes if not 0 < len(last) <= change.off_epochs]
        for seed, stream in zip(self.seeds, self.streams, strict=False):
            stream.manual_seed(derived_seed("augmentation", seed, epoch))

    def __call__(self, inputs: Tree, targets: Tree) -> tuple[Tree, Tree]:
        if not self._active:
            return inputs, targets
        changed = []
        for own, of_own, stream in zip(of_copies(inputs), of_copies(targets), self.streams, strict=True):
            batch = own, of_own
            for augment in self._active:
                batch = augment(*batch, stream)
            changed.append(batch)
        return joined([own for own, _ in changed]), joined([own for _, own in changed])
