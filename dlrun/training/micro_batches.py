"""Micro-batches: the pieces of a batch, computed one after the other, or by one process each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dlrun.data.trees import Tree, at, first_of
from dlrun.training.copies import Copies
from dlrun.training.held_dropout import HeldDropout
from dlrun.training.world import ALONE, World


@dataclass(frozen=True)
class Piece:
    """One piece among those of a batch: by default the whole batch.

    A process without a part of the batch has a piece whose `share` is 0, which counts nowhere.
    """

    share: float = 1.0  # of the examples of the batch
    is_first: bool = True  # of this process
    is_last: bool = True
    weights: list[Tensor] = field(default_factory=list)  # Σ w of its pieces so far, if the loss has weights

    def shares(self, losses: Tensor, factor: float, axis: int = 0) -> Tensor:
        """The gradient of `factor` times the mean over the batch with respect to each loss of the piece.

        With weights it is that of the sum of w · loss, because Σ w of the batch is not known yet.
        """
        if self is WHOLE:
            return shares_in_mean(losses, factor, axis)
        if losses.dim() == axis + 1:
            return shares_in_mean(losses, factor * self.share, axis)
        counts = float(self.share > 0)
        self.weights.append(counts * losses[..., 1].detach().sum(axis))
        shares = torch.zeros_like(losses)
        shares[..., 0] = counts * factor
        return shares

    def weight_so_far(self, copies: int) -> Tensor:
        """Σ w (copies,) of the pieces of this process; after the last one, if it has all, of the batch."""
        return torch.stack([some.reshape(-1) for some in self.weights]).view(-1, copies).sum(0)


WHOLE = Piece()


class MicroBatches:
    """The pieces of a process's part of each batch: as few, and as equal, as `size` examples at most allow.

    The gradients of pieces add up to that of the batch. Unless it is compiled, the model's dropouts draw for
    the whole batch, as without pieces.
    """

    def __init__(
        self, model: Copies, size: int | None, *, is_compiled: bool = False, world: World = ALONE
    ) -> None:
        self._size, self._world = size, world
        self._dropout = None if is_compiled else HeldDropout(model)

    def __call__(self, inputs: Tree, targets: Tree) -> Iterator[tuple[Tree, Tree, Piece]]:
        """Yield inputs and targets (copies, piece, …) of each piece of a batch (copies, batch, …)."""
        n = first_of(inputs).shape[1]
        part = self._world.part(n)
        sizes = piece_sizes(part.stop - part.start, self._size) or [0]
        if self._world.is_alone and sizes == [n]:
            yield inputs, targets, WHOLE
            return
        weights = list[Tensor]()
        if self._dropout:
            self._dropout.draw(inputs)
        try:
            start = part.start
            for number, size in enumerate(sizes, 1):
                here = slice(start, start + size) if size else slice(0, 1)  # of a part without examples
                self._world.is_idle = size == 0
                if self._dropout:
                    self._dropout.take(here)
                own, of_own = (at(tree, (slice(None), here)) for tree in (inputs, targets))
                yield own, of_own, Piece(size / n, number == 1, number == len(sizes), weights)
                start += size
        finally:
            if self._dropout:
                self._dropout.release()


def piece_sizes(n: int, most: int | None) -> list[int]:
    """The sizes of the fewest pieces of at most so many of n examples, which differ by one at most."""
    pieces = -(-n // most) if most else 1
    return [n // pieces + (number < n % pieces) for number in range(pieces)]


def shares_in_mean(losses: Tensor, factor: float, axis: int = 0) -> Tensor:
    """The gradient of `factor` times the mean over an axis, with respect to each loss.

    That of a mean is 1/n, so that the mean need not be computed. With weights, (…, 2) of w · loss and w, it
    is 1 / Σ w for w · loss, and 0 for w.
    """
    if losses.dim() == axis + 1:
        return torch.full_like(losses, factor / losses.shape[axis])
    shares = torch.zeros_like(losses)
    weights = losses[..., 1].detach().sum(axis, keepdim=True)
    shares[..., 0] = factor / weights.clamp_min(torch.finfo(weights.dtype).tiny)
    return shares
