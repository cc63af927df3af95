"""The data loader: batches of a split, shuffled for each seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from dlrun.data.examples import Split
from dlrun.data.gather import Gather
from dlrun.data.loaded import InMemory, Streamed
from dlrun.data.trees import Tree, expanded, single
from dlrun.system.randomness import generator


@dataclass(frozen=True)
class Sampling:
    """The examples of an epoch: how many, and how they are divided into batches."""

    batch_size: int | Literal["full"]
    epoch_examples: int | None = None  # None: all examples of the training split
    drop_last: bool = False  # leave out a last batch that is smaller
    is_balanced: bool = False  # draw each class as often, with replacement

    def size(self, n: int) -> int:
        """The examples of a batch of a split of n examples; the last batch may be smaller."""
        return n if self.batch_size == "full" else min(self.batch_size, self.drawn(n))

    def drawn(self, n: int) -> int:
        """The examples in the order of an epoch, of n in the split."""
        return self.epoch_examples or n

    def examples(self, n: int) -> int:
        """The examples that an epoch trains on, of n in the split."""
        drawn = self.drawn(n)
        return drawn - drawn % self.size(n) if self.drop_last else drawn

    def steps(self, n: int) -> int:
        """The steps of an epoch, of n examples in the split."""
        return -(-self.examples(n) // self.size(n))


class Batches:
    """The data loader of a training split: its batches, in each copy's own order.

    The order is a function of the copy's seed and the epoch, and the same on every device. A full batch is
    the split in its own order, preprocessed once.
    """

    def __init__(self, split: Split, sampling: Sampling, seeds: Sequence[int]) -> None:
        self.split, self.seeds, self.sampling = split, seeds, sampling
        self.size, self.examples_of_epoch = sampling.size(len(split)), sampling.examples(len(split))
        self._steps = sampling.steps(len(split))
        self._is_full = self.size == len(split) and not (sampling.epoch_examples or sampling.is_balanced)
        self._whole: tuple[Tree, Tree] | None = None

    def __len__(self) -> int:
        """The number of steps in an epoch."""
        return self._steps

    def shuffled(self, epoch: int, done: int = 0) -> Iterator[tuple[Tree, ...]]:
        """Yield the batches of one epoch after the first `done`, each as the arguments of `examples`.

        That is (indices,), of shape (copies, batch), which the step looks up on the device; for a streamed
        split and for a full batch it is (inputs, targets).
        """
        if self._is_full:
            yield self._everything()
        elif isinstance(self.split, Streamed):
            yield from self.split.ahead(self.order(epoch).split(self.size, dim=1)[done:])
        else:
            for indices in self.order(epoch).to(self.split.device).split(self.size, dim=1)[done:]:
                yield (indices,)

    def examples(self, *batch: Tree) -> tuple[Tree, Tree]:
        """The inputs (copies, batch, …) and targets (copies, batch, …) of one batch."""
        if len(batch) == 2:
            return batch
        return self.split.batch(single(batch[0]))

    def gather(self) -> Gather | None:
        """Gather the batches of one copy, each over the one before; None of examples that it cannot take."""
        return self.split.gather() if isinstance(self.split, InMemory) else None

    def order(self, epoch: int) -> Tensor:
        """The examples of one epoch for each copy, (copies, n): permutations of the split, one after another.

        Without `epoch_examples` an epoch is one permutation; else a permutation goes on in the next epoch
        where it was left, until all examples had their turn. A balanced order is drawn by classes instead.
        """
        if self.sampling.is_balanced:
            return torch.stack([self._by_classes(seed, epoch) for seed in self.seeds])
        n, drawn = len(self.split), self.sampling.drawn(len(self.split))
        start = (epoch - 1) * drawn
        passes = range(start // n, -(-(start + drawn) // n))
        first = start - passes[0] * n
        return torch.stack([self._passes(seed, passes)[first : first + drawn] for seed in self.seeds])[
            :, : self.examples_of_epoch
        ]

    def _by_classes(self, seed: int, epoch: int) -> Tensor:
        """Examples that are drawn with replacement: a class, each equally probable, then an example of it.

        That is PyTorch's WeightedRandomSampler with the weight 1 / n_c for a class of n_c examples, for a
        split of any size.
        """
        by_class, counts = self._classes
        stream, starts = generator("order", seed, epoch), counts.cumsum(0) - counts
        drawn = torch.randint(len(counts), (self.examples_of_epoch,), generator=stream)
        shares = torch.rand(self.examples_of_epoch, generator=stream, dtype=torch.float64)
        return by_class[starts[drawn] + (shares * counts[drawn]).long()]

    @cached_property
    def _classes(self) -> tuple[Tensor, Tensor]:
        """The examples (n,) by class, and the number of each class that there is."""
        classes = self.split.targets.cpu()
        return classes.argsort(stable=True), classes.unique(return_counts=True)[1]

    def _passes(self, seed: int, passes: range) -> Tensor:
        """The permutations of some passes over the split, in one row."""
        orders = [generator("order", seed, number + 1) for number in passes]
        return torch.cat([torch.randperm(len(self.split), generator=order) for order in orders])

    def _everything(self) -> tuple[Tree, Tree]:
        if self._whole is None:
            inputs, targets = self.split.batch(torch.arange(len(self.split), device=self.split.device))
            copies = len(self.seeds)
            self._whole = expanded(inputs, copies), expanded(targets, copies)
        return self._whole
