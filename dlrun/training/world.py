"""World: the processes that train one run together, each on its part of every batch.

They hold the same weights and make the same steps: only gradients, sums of figures and decisions travel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from dlrun.errors import Diverged
from dlrun.training.presence import Presence

_LARGE = 1_000_000  # numbers of a gradient that is exchanged by itself, where it lies; others are gathered


def _never() -> bool:
    return False


@dataclass
class World:
    """The place of this process among those that train a run; alone it is the whole world.

    Methods that exchange something have to be called by every process, in the same order.
    """

    rank: int = 0
    size: int = 1
    presence: Presence | None = field(default=None, repr=False)  # of several processes
    _diverged: Diverged | None = field(default=None, repr=False)  # here, the others do not know yet
    is_asked: Callable[[], bool] = field(default=_never, repr=False)  # to stop, such as by a signal
    is_save_due: Callable[[], bool] = field(default=_never, repr=False)  # of the steps within an epoch
    _stops: bool = field(default=False, repr=False)  # as all processes agreed in the last step
    _saves: bool = field(default=False, repr=False)
    is_idle: bool = False  # in this step, whose batch has no example for this process

    def __deepcopy__(self, memo: object) -> World:
        return self  # that of a model's copy too

    @property
    def is_alone(self) -> bool:
        return self.size == 1

    @property
    def is_to_stop(self) -> bool:
        """True if this process was asked to stop, or one of several: all know it after the same step."""
        return self.is_asked() if self.is_alone else self._stops

    @property
    def is_to_save(self) -> bool:
        """True if a save within the epoch is due for one of them: all know it after the same step."""
        return self.is_save_due() if self.is_alone else self._saves

    def part(self, n: int) -> slice:
        """This process's part of n examples of a batch; parts differ by one example at most."""
        share, more = divmod(n, self.size)
        start = self.rank * share + min(self.rank, more)
        return slice(start, start + share + (self.rank < more))

    def pieces(self, examples: int, size: int) -> Iterator[range]:
        """Yield the examples of a split that this process evaluates, in pieces, dealt in turn."""
        if self.is_alone:
            yield range(examples)
            return
        for start in range(self.rank * size, examples, self.size * size):
            yield range(start, min(start + size, examples))

    def note(self, diverged: Diverged) -> None:
        """Keep the error of a loss that is not finite until all processes know of it."""
        self._diverged = self._diverged or diverged

    @torch.no_grad()
    def add_up(self, parameters: Sequence[Tensor], more: Tensor | None = None) -> Tensor | None:
        """Add up the gradients of all processes in place; return the sum of `more` figures.

        A parameter without a gradient in some processes, such as that of a branch which their examples do not
        take, has the sum of the others; without any it has none. Raises Diverged in every process if one of
        them noted it. All are to stop, or to save, if one is.
        """
        trained = [own for own in parameters if own.requires_grad]
        asked = self._diverged is not None, self.is_asked(), self.is_save_due()
        figures = trained[0].new_zeros(0) if more is None else more
        flags = figures.new_tensor([*asked, *(own.grad is not None for own in trained)])
        gradients = [torch.zeros_like(own) if own.grad is None else own.grad for own in trained]
        large = [each for each in gradients if each.numel() >= _LARGE and each.is_contiguous()]
        small = [each for each in gradients if each.numel() < _LARGE or not each.is_contiguous()]
        with self._exchanging():
            begun = [dist.all_reduce(each, async_op=True) for each in large]  # while the others are gathered
            for kind in {gradient.dtype: None for gradient in small} | {figures.dtype: None}:
                own = [gradient for gradient in small if gradient.dtype == kind]
                rest = [flags, figures] if kind == figures.dtype else []
                flat = torch.cat([each.reshape(-1) for each in (*own, *rest)])
                dist.all_reduce(flat)
                parts = flat.split([each.numel() for each in (*own, *rest)])
                for gradient, summed in zip(own, parts, strict=False):
                    gradient.copy_(summed.view(gradient.shape))
                if rest:
                    flags, figures = parts[-2:]
            for exchange in begun:
                exchange.wait()
        diverges, self._stops, self._saves, *there = (count > 0 for count in flags.tolist())
        if diverges:
            self.raise_noted()
        for parameter, gradient, is_there in zip(trained, gradients, there, strict=True):
            parameter.grad = gradient if is_there else None
        return None if more is None else figures

    def sum_of(self, figures: Tensor) -> Tensor:
        """The sum of some figures over all processes, which has a gradient with respect to those of each."""
        summed: Tensor = _Summed.apply(figures, self)  # type: ignore[no-untyped-call]
        return summed

    def summed(self, figures: Tensor) -> Tensor:
        """The sum of some figures over all processes."""
        total = figures.contiguous().clone()
        with self._exchanging():
            dist.all_reduce(total)
        return total

    def raise_noted(self) -> None:
        """Raise, in every process, the first error that one of them noted."""
        for said in self.gathered(self._diverged.what if self._diverged else ""):
            if said:
                raise Diverged(said)

    def gathered(self, own: Any) -> list[Any]:
        """The objects of all processes, in the order of their ranks."""
        if self.is_alone:
            return [own]
        found: list[Any] = [None] * self.size
        with self._exchanging():
            dist.all_gather_object(found, own)
        return found

    def told(self, what: Any) -> Any:
        """The object that the first process tells all others, whose own ones are left out."""
        if self.is_alone:
            return what
        said = [what]
        with self._exchanging():
            dist.broadcast_object_list(said, src=0)
        return said[0]

    def enter(self, phase: str) -> None:
        """Note what this process does from here on, for the others, should they lose it."""
        if self.presence:
            self.presence.phase = phase

    @contextmanager
    def _exchanging(self) -> Iterator[None]:
        """Turn the error of PyTorch about a process that is gone, or does not answer, into RunFailed."""
        try:
            yield
        except RuntimeError as error:
            if self.presence is None:
                raise
            raise self.presence.lost(error) from error


class _Summed(torch.autograd.Function):
    """A sum over all processes: the gradient of each is the sum of theirs with respect to it."""

    @staticmethod
    def forward(context: Any, figures: Tensor, world: World) -> Tensor:
        context.world = world
        return world.summed(figures)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        world: World = context.world
        return world.summed(gradient), None


ALONE = World()
