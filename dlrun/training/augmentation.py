"""Data augmentation of training batches: each seed draws from its own random stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dlrun.data.trees import Tree, joined, of_copies
from dlrun.system.randomness import derived_seed


def as_they_are(targets: Tree) -> Tree:
    return targets


@dataclass(frozen=True)
class Augment:
    """An augmentation with its options, `x(inputs, generator)` or `x(inputs, targets, generator)`.

    One that takes targets is given them as `soften` makes them, such as shares of classes.
    """

    name: str
    function: Callable[..., Any]
    takes_targets: bool = False
    soften: Callable[[Tree], Tree] = as_they_are

    def __call__(self, inputs: Tree, targets: Tree, generator: torch.Generator) -> tuple[Tree, Tree]:
        """Changed inputs (n, …) and targets (n, …) of a batch."""
        if self.takes_targets:
            return self.function(inputs, self.soften(targets), generator)  # type: ignore[no-any-return]
        return self.function(inputs, generator), targets


class Augmentation:
    """The augmentations of a config, applied to training batches (copies, batch, …).

    Each copy draws from its own stream, so that it sees the same changes as when it trains alone.
    """

    def __init__(self, changes: Sequence[Augment], seeds: Sequence[int], device: torch.device) -> None:
        self.changes, self.seeds = changes, seeds
        self.streams = [torch.Generator(device) for _ in seeds] if changes else []

    def begin(self, epoch: int) -> None:
        """Set every random stream to its start for the epoch."""
        for seed, stream in zip(self.seeds, self.streams, strict=False):
            stream.manual_seed(derived_seed("augmentation", seed, epoch))

    def __call__(self, inputs: Tree, targets: Tree) -> tuple[Tree, Tree]:
        if not self.changes:
            return inputs, targets
        changed = []
        for own, of_own, stream in zip(of_copies(inputs), of_copies(targets), self.streams, strict=True):
            batch = own, of_own
            for augment in self.changes:
                batch = augment(*batch, stream)
            changed.append(batch)
        return joined([own for own, _ in changed]), joined([own for _, own in changed])
