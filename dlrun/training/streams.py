"""Random streams: each copy draws its dropout from the stream of its own seed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dlrun.system.randomness import derived_seed


class Streams:
    """A random stream for each seed: a copy swaps it in for the device's generator, and out again."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = seeds
        self.positions: list[Tensor] = []  # the state of each seed's stream, while it is not taken up
        self._before: dict[int, Tensor] = {}  # where each stream was at the start of the step
        self._first: list[Tensor] = []
        self._drawn = self._held = False
        self._generator = torch.default_generator

    def begin(self, epoch: int, model: nn.Module) -> None:
        """Set every stream to its start for the epoch, on the model's device."""
        if not self.positions:
            self._generator = default_generator(next(model.parameters(), torch.empty(0)).device)
        self._note_drawn()
        self.positions = []
        for seed in self.seeds:
            self._generator.manual_seed(derived_seed("dropout", seed, epoch))
            self.positions.append(self._generator.get_state())
        self._first = list(self.positions)

    def take_up(self, index: int) -> None:
        """Swap in the stream of one seed: random numbers are drawn from it from here on."""
        if not self._held:
            self._before[index] = self.positions[index]
            self._generator.set_state(self.positions[index])

    def rewind(self, index: int) -> None:
        """Set the stream of one seed to where it was taken up last."""
        self.positions[index] = self._before[index]

    def lay_down(self, index: int) -> None:
        """Save the position of that seed's stream."""
        if not self._held:
            self.positions[index] = self._generator.get_state()

    def hold(self) -> None:
        """Stop swapping streams: draw from the device's generator, as inside a CUDA graph it must be.

        Raises RuntimeError if several seeds draw random numbers, for each needs its own stream.
        """
        self._note_drawn()
        if self._drawn:
            raise RuntimeError("each seed draws its dropout from a stream of its own")
        self._held = True

    def _note_drawn(self) -> None:
        if len(self.seeds) > 1 and not self._drawn:
            self._drawn = any(
                not torch.equal(*pair) for pair in zip(self._first, self.positions, strict=True)
            )


def default_generator(device: torch.device) -> torch.Generator:
    """The random number generator that dropout draws from on a device."""
    if device.type == "cuda":
        return torch.cuda.default_generators[device.index or 0]
    return torch.mps._get_default_mps_generator() if device.type == "mps" else torch.default_generator
