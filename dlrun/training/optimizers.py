"""Optimizers of a model: one for each copy, or one for all copies if it works element by element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import signature
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from dlrun.errors import UserError
from dlrun.training import fast_paths
from dlrun.training.copies import Copies, Stacked
from dlrun.training.weight_groups import Named, WeightGroups

Saved = dict[str, Any]  # Optimizer.state_dict()
_Slope = tuple[nn.Parameter, Callable[[Tensor], Tensor]]  # a weight, and its gradient
# The errors of an optimizer that is given other weights than it was written for.
_FAILURES = (RuntimeError, LookupError, ValueError, AssertionError)
# Names and shapes of weights to try an optimizer on, which may treat matrices and vectors differently.
MADE_UP: Sequence[tuple[str, Sequence[int]]] = (("weight", (2, 3)), ("bias", (3,)))
_EVERY = "every weight"  # a key of a parameter group: its weights, if only some of them are updated


class Optimizers:
    """The optimizers of all copies, stepped together.

    An optimizer that computes a figure over several elements, such as the norm of all gradients, would couple
    copies that it serves together; so each copy has its own. One that works element by element gives the same
    bits either way, and faster if there is a single one for all copies.
    """

    def __init__(self, each: Sequence[torch.optim.Optimizer], takes_closure: bool = False) -> None:
        self.each = list(each)
        self.takes_closure = takes_closure  # then there is one for each copy
        self._updated: set[int] | None = None  # the ids of the weights that are updated; None: all of them

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The parameter groups of all optimizers."""
        if len(self.each) == 1 and self._updated is None:
            return self.each[0].param_groups
        return [group for one in self._active() for group in one.param_groups]

    @property
    def groups_of_each(self) -> list[list[dict[str, Any]]]:
        """The parameter groups of each optimizer that has any weights to update."""
        if self._updated is None:
            return [one.param_groups for one in self.each]
        return [one.param_groups for one in self._active()]

    def _active(self) -> list[torch.optim.Optimizer]:
        """The optimizers that have any weights to update."""
        if self._updated is None:
            return self.each
        return [one for one in self.each if any(group["params"] for group in one.param_groups)]

    def update_only(self, weights: Sequence[Tensor]) -> None:
        """Update only these weights from now on: those of copies that have not stopped early."""
        self._updated = {id(weight) for weight in weights}
        for one in self.each:
            for group in one.param_groups:
                group.setdefault(_EVERY, group["params"])
                group["params"] = [weight for weight in group[_EVERY] if id(weight) in self._updated]

    @property
    def keep_no_gradients(self) -> bool:
        """True of PyTorch's own, none of which keeps a gradient as it is for a later step."""
        return all(type(one).__module__.startswith("torch.optim") for one in self.each)

    def clear_gradients(self) -> None:
        """Forget the gradients of the step before."""
        for group in self.param_groups:  # takes a tenth of the time of optimizer.zero_grad()
            for parameter in group["params"]:
                parameter.grad = None

    def step(self) -> None:
        """Update the weights of every copy by its gradients."""
        for one in self._active():
            fast_paths.step(one)

    def step_by(self, closures: Sequence[Callable[[], Tensor]]) -> None:
        """Update each copy by an optimizer that calls for its loss and gradient, maybe several times."""
        for one, closure in zip(self._active(), closures, strict=True):
            one.step(torch.enable_grad()(closure))  # type: ignore[arg-type]  # torch's stubs want a float

    def skip_if(self, not_finite: Tensor) -> None:
        """Let fused optimizers leave the weights unchanged while `not_finite` () is 1 on the device."""
        for one in self.each:
            if one.defaults.get("fused"):
                one.found_inf, one.grad_scale = not_finite, None  # type: ignore[attr-defined]

    def state_dict(self) -> Saved | list[Saved]:
        """The state of the one optimizer, or a list with that of each; learning rates as plain numbers."""
        saved = [_without_tensors(_whole_state(one)) for one in self.each]
        return saved[0] if len(saved) == 1 else saved

    def load_state_dict(self, saved: Saved | list[Saved]) -> None:
        """Load the state of each optimizer, perhaps from another device; settings of this device stay.

        Raises ValueError for a state that one optimizer kept for several copies.
        """
        for one, own in zip(self.each, self.parted(saved), strict=True):
            one.load_state_dict(_as_here(own, one))

    def parted(self, saved: Saved | list[Saved]) -> list[Saved]:
        """The saved state of each optimizer. One that served all copies, as dlrun had it, is parted.

        Raises ValueError if that is not possible: the parameters are in several groups.
        """
        if isinstance(saved, list):
            return saved
        if len(self.each) == 1:
            return [saved]
        if len(saved["param_groups"]) != 1:
            what = "it has one optimizer with several groups for all seeds, whose state cannot be parted"
            raise ValueError(f"{what}: each seed now has an optimizer of its own")
        [group] = saved["param_groups"]
        share = len(group["params"]) // len(self.each)
        return [
            {
                "state": {
                    number: saved["state"][index]
                    for number, index in enumerate(group["params"][start : start + share])
                    if index in saved["state"]
                },
                "param_groups": [group | {"params": list(range(share))}],
            }
            for start in range(0, share * len(self.each), share)
        ]


def narrowed(saved: Saved | list[Saved], copies: int, places: Sequence[int]) -> Saved:
    """The state of the optimizer of stacked copies, for those at some places alone."""
    assert isinstance(saved, dict), "stacked copies share an optimizer"
    return _each_tensor(saved, copies, lambda value: value[list(places)])


def widened(saved: Saved | list[Saved], copies: int, places: Sequence[int]) -> Saved:
    """The state of the optimizer of stacked copies at some places, for all copies: 0 for the others."""
    assert isinstance(saved, dict), "stacked copies share an optimizer"

    def wide(value: Tensor) -> Tensor:
        found = value.new_zeros(copies, *value.shape[1:])
        found[list(places)] = value
        return found

    return _each_tensor(saved, len(places), wide)


def _each_tensor(saved: Saved, copies: int, change: Callable[[Tensor], Tensor]) -> Saved:
    """The state with every tensor changed that has an axis of copies, the first."""

    def changed(value: Any) -> Any:
        has_copies = isinstance(value, Tensor) and value.dim() and len(value) == copies
        return change(value) if has_copies else value

    state = {
        weight: {name: changed(value) for name, value in kept.items()}
        for weight, kept in saved["state"].items()
    }
    return saved | {"state": state}


def _whole_state(optimizer: torch.optim.Optimizer) -> Saved:
    """The state_dict of an optimizer with all of its weights, also those that it no longer updates."""
    groups = optimizer.param_groups
    updated = [group["params"] for group in groups]
    every = [group.pop(_EVERY, group["params"]) for group in groups]
    for group, weights in zip(groups, every, strict=True):
        group["params"] = weights
    saved: Saved = optimizer.state_dict()
    for group, weights, some in zip(groups, every, updated, strict=True):
        if some is not weights:
            group[_EVERY], group["params"] = weights, some
    return saved


@dataclass(frozen=True)
class OptimizerPart:
    """An optimizer as a config names it, and what its file states about the parameters it is given."""

    name: str
    function: Callable[..., torch.optim.Optimizer]  # with all options
    is_elementwise: bool = False  # `elementwise = True`
    takes_names: bool = False  # its first parameter is `named_parameters`: (name, tensor) pairs
    states_closure: bool = False  # `closure = True`
    groups: WeightGroups = field(default_factory=WeightGroups)

    def make(self, weights: Sequence[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
        """One optimizer of some weights, by their names, with a parameter group for each group of weights."""
        made = [
            self.function([pair if self.takes_names else pair[1] for pair in some], **options)
            for options, some in self.groups.parted(weights)
        ]
        whole = made[0]
        for other in made[1:]:  # each part was made with its own options, whatever they are called in it
            for group in other.param_groups:
                whole.add_param_group(group)
            whole.state.update(other.state)
        return whole

    def of(self, model: Copies) -> Optimizers:
        """The optimizers of a model: a single one if it is elementwise or the copies are stacked."""
        if isinstance(model, Stacked):
            return Optimizers([self.make(list(model.named_weights()))])
        apart = [list(copy.named_parameters()) for copy in model.copies]
        if self.is_elementwise:
            apart = [[pair for of_copy in apart for pair in of_copy]]
        each = [self.make(weights) for weights in apart]
        return Optimizers(each, self.states_closure or any(map(needs_closure, each)))

    def takes_closure(self) -> bool:
        """True if a step computes the loss again, maybe several times."""
        return self.states_closure or needs_closure(self.make(_made_up(0)))

    def keeps_weights_apart(self) -> bool:
        """True if one optimizer for two models updates each as an optimizer of its own would, bit for bit.

        Tried on made-up weights; the gradients of one are a thousand times longer than those of the other.
        Raises UserError if it fails on them.
        """
        try:
            return all(map(torch.equal, self._learnt([0, 1]), self._learnt([0]) + self._learnt([1])))
        except _FAILURES as error:
            what = f"{self.name} fails on a matrix and a vector, on which it is tried"
            raise UserError(f"{what}: {reason_of(error)}") from error

    def is_repeatable(self) -> bool:
        """True if the optimizer updates made-up weights in the same way again."""
        return all(map(torch.equal, self._learnt([0]), self._learnt([0])))

    def keeps_its_state(self) -> bool:
        """True if an optimizer that is loaded from another's state_dict goes on as that one does."""
        both = [_made_up(0) for _ in range(2)]
        one, other = map(self.make, both)
        each = [[weight for _, weight in weights] for weights in both]

        for length in (1.0, -0.5, 2.0):
            self._step(one, [(weight, partial(_downhill, length)) for weight in each[0]])
        for ours, theirs in zip(*each, strict=True):
            theirs.data.copy_(ours.data)
        other.load_state_dict(deepcopy(one.state_dict()))  # else both would keep the same tensors
        for length in (0.7, -0.2):
            for optimizer, weights in zip((one, other), each, strict=True):
                self._step(optimizer, [(weight, partial(_downhill, length)) for weight in weights])
        return all(map(torch.equal, *each))

    def refuse_groups(self, shapes: Sequence[tuple[str, Sequence[int]]]) -> None:
        """Raise UserError if a step is made of small weights with these names, but not of them in groups."""
        try:
            self._step_once(shapes)
        except _FAILURES as error:
            with suppress(*_FAILURES):  # then it is not the groups
                replace(self, groups=WeightGroups())._step_once(shapes)
                what = f"{self.name} makes no step of weights in groups: {reason_of(error)}"
                keys = " and ".join(self.groups.keys)
                raise UserError(what, fix=f"leave {keys} out, or take another optimizer") from error

    def _step_once(self, shapes: Sequence[tuple[str, Sequence[int]]]) -> None:
        self.step_downhill(
            [(name, nn.Parameter(_filled([min(size, 2) for size in shape]))) for name, shape in shapes]
        )

    def step_downhill(self, weights: Sequence[Named]) -> None:
        """One step of some weights along made-up gradients, of an optimizer that is made for it."""
        self._step(self.make(weights), [(weight, partial(_downhill, 1.0)) for _, weight in weights])

    def moves(self, shapes: Sequence[tuple[str, Sequence[int]]]) -> bool:
        """True if three steps change any of made-up weights with these names and shapes."""
        weights = [(name, nn.Parameter(_filled(shape))) for name, shape in shapes]
        starts = [weight.detach().clone() for _, weight in weights]
        optimizer = self.make(weights)
        for _ in range(3):
            self._step(optimizer, [(weight, partial(_downhill, 1.0)) for _, weight in weights])
        return not all(torch.equal(weight, start) for (_, weight), start in zip(weights, starts, strict=True))

    def _step(self, optimizer: torch.optim.Optimizer, slopes: Sequence[_Slope]) -> None:
        """One step of some weights, each with a function that gives its made-up gradient."""

        def closure() -> Tensor:
            for weight, gradient in slopes:
                weight.grad = gradient(weight.detach())
            return torch.stack([weight.detach().square().sum() for weight, _ in slopes]).sum()

        if self.states_closure or needs_closure(optimizer):
            Optimizers([optimizer], takes_closure=True).step_by([closure])
        else:
            closure()
            fast_paths.step(optimizer)

    def _learnt(self, numbers: Sequence[int]) -> list[Tensor]:
        """The made-up weights of one or both numbers after three steps of one optimizer."""
        named = [(number, *pair) for number in numbers for pair in _made_up(number)]
        weights = [weight for _, _, weight in named]
        starts = [weight.detach().clone() for weight in weights]
        optimizer = self.make([(name, weight) for _, name, weight in named])
        for length in (1.0, -0.5, 0.25):
            # The gradients do not depend on the weights, which a large rate would make infinite.
            fixed = [
                length * 1000.0**number * (start + 0.1)
                for (number, _, _), start in zip(named, starts, strict=True)
            ]
            gradients = [partial(_same, gradient) for gradient in fixed]
            self._step(optimizer, list(zip(weights, gradients, strict=True)))
        return [weight.detach() for weight in weights]


def _made_up(number: int) -> list[Named]:
    """Weights to try an optimizer on; those of another number have other values."""
    return [(name, nn.Parameter((number + 1) * _filled(shape))) for name, shape in MADE_UP]


def _filled(shape: Sequence[int]) -> Tensor:
    return torch.linspace(-1, 1, prod(shape)).view(*shape)


def reason_of(error: Exception) -> str:
    """The first line of what an error says, or its kind; both of a key, which alone says nothing."""
    if isinstance(error, KeyError):
        return f"KeyError: {error}"[:150]
    return (str(error).splitlines() or [type(error).__name__])[0][:150]


def _downhill(length: float, weight: Tensor) -> Tensor:
    return length * (weight + 0.3)


def _same(gradient: Tensor, weight: Tensor) -> Tensor:
    return gradient.clone()


def needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """True if the step of an optimizer cannot be made without a function that computes the loss again."""
    return any(option.default is option.empty for option in signature(optimizer.step).parameters.values())


def _as_here(saved: Saved, optimizer: torch.optim.Optimizer) -> Saved:
    """The saved state of an optimizer, perhaps from another device, with this optimizer's own settings."""
    how = ("fused", "capturable")
    groups = [
        theirs | {key: ours[key] for key in how if key in ours}
        for theirs, ours in zip(saved["param_groups"], optimizer.param_groups, strict=True)
    ]
    return saved | {"param_groups": groups}


def _without_tensors(saved: Saved) -> Saved:
    """The state of an optimizer with its learning rates as plain numbers instead of tensors."""
    groups = [
        {key: value.item() if isinstance(value, Tensor) else value for key, value in group.items()}
        for group in saved["param_groups"]
    ]
    return saved | {"param_groups": groups}
