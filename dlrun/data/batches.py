"""The data loader: batches of a split, shuffled for each seed and epoch, or in order for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from dlrun.data.examples import Split
from dlrun.data.loaded import Streamed
from dlrun.system.randomness import generator


class Batches:
    """The data loader of a training split: its batches, in each copy's own order.

    The order is a function of the copy's seed and the epoch, and the same on every device; the last batch
    may be smaller. A full batch is the split in its own order, preprocessed once.
    """

    def __init__(
        self, split: Split, size: int | Literal["full"], seeds: Sequence[int], device: torch.device
    ) -> None:
        self.split, self.seeds, self.device = split, seeds, device
        self.size = len(split) if size == "full" else min(size, len(split))
        self._whole: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        """The number of steps in an epoch."""
        return steps(len(self.split), self.size)

    def shuffled(self, epoch: int) -> Iterator[tuple[Tensor, ...]]:
        """Yield the batches of one epoch, each as the arguments of `examples`.

        That is (indices,), of shape (copies, batch), which the step looks up on the device; for a streamed
        split and for a full batch it is (inputs, targets).
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
    """The number of steps in an epoch; the last batch may be smaller."""
    return 1 if batch_size == "full" else -(-examples // batch_size)


def in_order(split: Split, device: torch.device, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield a split in order, `size` examples at a time: inputs (batch, …), targets (batch, …)."""
    for indices in torch.arange(len(split), device=device).split(size):
        yield split.batch(indices)
