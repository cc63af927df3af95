"""ThreeNet and its data, as every contestant begins with them: seed 0 draws dlrun's own initial weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

BATCH = 256
RATE = 1e-2


def images(folder: Path, split: str) -> tuple[Tensor, Tensor]:
    """The pixels (n, 784) of train or t10k from -1 to 1 in float32, and the labels (n,)."""
    raw = folder / "MNIST" / "raw"
    pixels = torch.from_numpy(np.fromfile(raw / f"{split}-images-idx3-ubyte", np.uint8)[16:])
    labels = torch.from_numpy(np.fromfile(raw / f"{split}-labels-idx1-ubyte", np.uint8)[8:])
    return pixels.view(-1, 784).float().div_(127.5).sub_(1), labels.long()


def model(*, inplace: bool = False) -> nn.Sequential:
    """784 -> 200 -> 60 -> 10 with ReLU, which gives logits."""
    torch.manual_seed(0)
    first, second, third = nn.Linear(784, 200), nn.Linear(200, 60), nn.Linear(60, 10)
    return nn.Sequential(first, nn.ReLU(inplace), second, nn.ReLU(inplace), third)


class InMemory:
    """Batches gathered from tensors, in a new order each time where `shuffled`: no example alone.

    Of several processes each has its `part` of every batch, (rank, processes).
    """

    def __init__(
        self, inputs: Tensor, targets: Tensor, size: int, shuffled: bool, part: tuple[int, int] = (0, 1)
    ) -> None:
        self.inputs, self.targets, self.size, self.shuffled = inputs, targets, size, shuffled
        self.rank, self.processes = part
        self.orders = torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return -(-len(self.targets) // self.size)

    def __iter__(self):  # type: ignore[no-untyped-def]
        n = len(self.targets)
        order = torch.randperm(n, generator=self.orders) if self.shuffled else torch.arange(n)
        for batch in order.split(self.size):
            indices = batch.chunk(self.processes)[self.rank]
            yield self.inputs.index_select(0, indices), self.targets.index_select(0, indices)
