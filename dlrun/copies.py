"""Several seeds as one model: axis 0 of everything is the seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dlrun.randomness import derived_seed


class Apart(nn.Module):
    """One module per seed, side by side: runs any architecture, each copy bit for bit as it would alone.

    Takes inputs (copies, batch, …) and gives outputs (copies, batch, …). Each copy draws its dropout
    from a stream of its own.
    """

    def __init__(self, build: Callable[[], nn.Module], seeds: Sequence[int]) -> None:
        super().__init__()
        self.seeds = list(seeds)
        self.copies = nn.ModuleList()
        with torch.random.fork_rng(devices=[]):
            for seed in self.seeds:
                torch.manual_seed(seed)
                self.copies.append(build())
        # How each copy is run: itself, or what torch.compile made of it.
        self.forwards: list[Callable[[Tensor], Tensor]] = list(self.copies)
        self._streams: list[Tensor] = []
        self._generator = torch.default_generator

    def begin(self, epoch: int) -> None:
        """Training mode, and every copy's random stream at its start of the epoch."""
        if not self.training:
            self.train()
        device = next((p.device for p in self.parameters()), torch.device("cpu"))
        if device.type == "cuda":
            self._generator = torch.cuda.default_generators[device.index or 0]
        elif device.type == "mps":
            self._generator = torch.mps._get_default_mps_generator()
        self._streams = []
        for seed in self.seeds:
            self._generator.manual_seed(derived_seed("dropout", seed, epoch))
            self._streams.append(self._generator.get_state())

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return stacked([forward(x) for forward, x in zip(self.forwards, inputs, strict=True)])
        outputs = []
        for index, (forward, x) in enumerate(zip(self.forwards, inputs, strict=True)):
            self._generator.set_state(self._streams[index])
            outputs.append(forward(x))
            self._streams[index] = self._generator.get_state()
        return stacked(outputs)


def each(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """`function` of every copy's slice of `tensors`, stacked along axis 0.

    One copy at a time, so that no sum is ever taken in another order than for that copy alone.
    """
    return stacked([function(*slices) for slices in zip(*tensors, strict=True)])


def stacked(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors along a new axis 0; a single one without copying it."""
    return tensors[0].unsqueeze(0) if len(tensors) == 1 else torch.stack(list(tensors))
