"""Frozen weights: those of a model that keep their values, for the whole run or its first epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from dlrun.errors import UserError, listed
from dlrun.training.copies import Copies
from dlrun.training.optimizers import Optimizers

_NOT = "!"  # before a pattern of names that are not frozen after all


@dataclass(frozen=True)
class Freezing:
    """The weights that do not change, by their names in a copy, and for how long."""

    weights: frozenset[str] = frozenset()
    norms: frozenset[str] = frozenset()  # layers whose running statistics do not change either
    epochs: int | None = None  # the first ones, in which they are frozen; None: all
    count: int = 0  # parameters, the numbers in the weights

    def __str__(self) -> str:
        """The frozen parameters in words; "" for none."""
        words = "" if self.epochs is None else f" for {self.epochs:,} epoch{'s' * (self.epochs > 1)}"
        return f"{self.count:,} frozen{words}" if self.weights else ""

    def begin(self, epoch: int, model: Copies, optimizers: Optimizers) -> None:
        """Freeze the weights, or let them learn from this epoch on; `model` is in training mode."""
        if not self.weights:
            return
        learns = self.epochs is not None and epoch > self.epochs
        model.train()
        model.freeze(self.weights, self.norms, learns=learns)
        optimizers.update_only([weight for weight in model.parameters() if weight.requires_grad])

    def norms_in(self, epoch: int) -> frozenset[str]:
        """The layers whose running statistics do not change in an epoch."""
        return self.norms if self.epochs is None or epoch <= self.epochs else frozenset()

    def ends_after(self, epoch: int) -> bool:
        """True if the weights learn from the next epoch on."""
        return bool(self.weights) and epoch == self.epochs


def freezing_of(patterns: Sequence[str], model: nn.Module, prefix: str, epochs: int | None) -> Freezing:
    """The weights that patterns freeze in a model whose names begin with `prefix`.

    Of several patterns that match a name the last one counts, and `!` before it lets the weight learn.
    A batch normalisation without a weight that learns keeps its running statistics. Raises UserError if a
    pattern matches nothing, or if no weight is left to learn.
    """
    learnt = {
        name: name.removeprefix(prefix) for name, weight in model.named_parameters() if weight.requires_grad
    }
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern.removeprefix(_NOT)) for name in learnt.values()):
            raise UserError(f"{pattern!r} matches no weight {listed(learnt.values())}")
    frozen = {name for name, own in learnt.items() if _is_frozen(own, patterns)}
    if len(frozen) == len(learnt):
        last = [*learnt.values()][-1]
        what = "every weight is frozen, so that nothing would be learnt"
        raise UserError(what, fix=f"add one that is not, such as '{_NOT}{last.rpartition('.')[0]}.*'")
    norms = {
        name
        for name, module in model.named_modules()
        if isinstance(module, _NormBase)
        and all(
            _is_frozen(f"{name}.{own}".removeprefix(prefix), patterns)
            for own in dict(module.named_parameters(recurse=False)) or ["running_mean"]
        )
    }
    count = sum(weight.numel() for name, weight in model.named_parameters() if name in frozen)
    return Freezing(frozenset(frozen), frozenset(norms), epochs, count)


def _is_frozen(name: str, patterns: Sequence[str]) -> bool:
    """True if the last of the patterns that match a name freezes it."""
    matching = [pattern for pattern in patterns if fnmatchcase(name, pattern.removeprefix(_NOT))]
    return bool(matching) and not matching[-1].startswith(_NOT)
