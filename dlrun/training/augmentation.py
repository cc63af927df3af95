"""Data augmentation of training batches: each seed draws from its own random stream."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dlrun.system.randomness import derived_seed
from dlrun.training.recipe import Recipe


class Augmentation:
    """The augmentations of a config, applied to training batches (copies, batch, …).

    Each copy draws from its own stream, so that it sees the same changes as when it trains alone.
    """

    def __init__(self, recipe: Recipe, seeds: Sequence[int], device: torch.device) -> None:
        self.changes, self.seeds = recipe.augmentations, seeds
        self.streams = [torch.Generator(device) for _ in seeds] if self.changes else []

    def begin(self, epoch: int) -> None:
        """Set every random stream to its start for the epoch."""
        for seed, stream in zip(self.seeds, self.streams, strict=False):
            stream.manual_seed(derived_seed("augmentation", seed, epoch))

    def __call__(self, inputs: Tensor) -> Tensor:
        if not self.changes:
            return inputs
        changed = []
        for images, stream in zip(inputs, self.streams, strict=True):
            for augment in self.changes:
                images = augment(images, stream)
            changed.append(images)
        return torch.stack(changed)
