"""The state of an optimizer in an untrusted checkpoint: what it must be to be taken over."""

from __future__ import annotations

import math
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from dlrun.errors import shortened
from dlrun.training import fast_paths
from dlrun.training.plan import Plan
from dlrun.training.state import State

STRICT = ConfigDict(strict=True, extra="forbid")  # of what a checkpoint holds
# Entries of an optimizer's state that may differ: implementation choices, and the rate, set by the schedule.
_MAY_DIFFER = {"fused", "capturable", "foreach", "lr", "initial_lr"}


class Unfit(Exception):
    """The reason why a checkpoint does not fit this run."""


class SavedOptimizer(BaseModel):
    """The schema of Optimizer.state_dict()."""

    model_config = STRICT
    state: dict[Any, Any]  # of weights by their numbers, and what else an own optimizer keeps
    param_groups: list[dict[str, Any]]


@fast_paths.without_compiler()
def refuse_optimizers(saved: Any, has_stepped: bool, state: State, plan: Plan) -> None:
    """Raises Unfit unless the state of every optimizer fits."""
    optimizers = state.optimizers
    if not isinstance(saved, list) and len(optimizers.each) > 1 and not plan.optimizer.keeps_weights_apart():
        raise Unfit(f"{plan.optimizer.name} was one optimizer for all seeds, which it trained as one model")
    if has_stepped and not optimizers.takes_closure:
        _do_a_step(state)
    for one, own in zip(optimizers.each, optimizers.parted(saved), strict=True):
        of_optimizer = SavedOptimizer.model_validate(own)
        if _is_known(one):
            _refuse_groups(of_optimizer, one)
            # The state of one that takes a closure depends on the loss; it computes with checked operations.
            if not optimizers.takes_closure:
                _refuse_optimizer(of_optimizer, one)


def _is_known(optimizer: torch.optim.Optimizer) -> bool:
    """True if the class of an optimizer, or one that it inherits from, is PyTorch's or dlrun's."""
    kinds = [kind for kind in type(optimizer).__mro__ if kind is not torch.optim.Optimizer]
    return any(map(_is_of_torch, kinds))


def _is_of_torch(kind: type) -> bool:
    return kind.__module__.split(".")[0] in ("torch", "dlrun")


def _refuse_groups(saved: SavedOptimizer, optimizer: torch.optim.Optimizer) -> None:
    """Raises Unfit unless an optimizer's groups have the options that its config gives them."""
    may_keep_more = not _is_of_torch(type(optimizer))
    groups = zip(optimizer.state_dict()["param_groups"], saved.param_groups, strict=True)
    for index, (here, there) in enumerate(groups):
        for key in here.keys() | (set() if may_keep_more else there.keys()):
            same = type(here.get(key)) is type(there.get(key)) and here.get(key) == there.get(key)
            if key not in _MAY_DIFFER and not same:
                raise Unfit(f"{key} of the optimizer's group {index} is {shortened(there.get(key))}")
        rate = there.get("lr")
        if not isinstance(rate, float | int) or isinstance(rate, bool) or not math.isfinite(rate):
            raise Unfit(f"the optimizer's rate is {shortened(rate)}")


def _refuse_optimizer(saved: SavedOptimizer, optimizer: torch.optim.Optimizer) -> None:
    """Raises Unfit unless an optimizer's state has the keys, shapes and dtypes that it has after a step.

    Fused kernels check no shapes and would read beyond a tensor. A class of the user's that inherits from
    one of PyTorch may keep more; one that inherits from none may keep anything: it computes with operations
    that check shapes.
    """
    may_keep_more = not _is_of_torch(type(optimizer))
    ours = optimizer.state_dict()
    # A weight that the loss does not depend on has no state.
    if not saved.state.keys() <= ours["state"].keys() or bool(saved.state) is not bool(ours["state"]):
        raise Unfit(f"its optimizer knows {len(saved.state)} weights, not {len(ours['state'])}")
    for number, theirs in saved.state.items():
        of_weight = ours["state"][number]
        if not of_weight.keys() <= theirs.keys() or (len(theirs) > len(of_weight) and not may_keep_more):
            raise Unfit(f"its optimizer keeps {', '.join(map(str, theirs))[:80]} of weight {number}")
        for name, value in of_weight.items():
            kept = theirs[name]
            if isinstance(value, Tensor):
                reason = unlike(kept, value)
                if not reason and kept.stride() != value.stride():
                    reason = "has another memory layout"
            else:
                reason = "" if type(kept) is type(value) else f"is {shortened(kept)}"
            if reason:
                raise Unfit(f"the optimizer's {name} of weight {number} {reason}")


def _do_a_step(state: State) -> None:
    """Do one step with gradients of zero, so that the optimizers have the state that they have after one.

    The step may change the weights, so they must be loaded afterwards. PyTorch's wrapper of `step` would
    import its compiler, which leaves a folder among the temporary files.
    """
    weights = list(state.model.parameters())
    for parameter in weights:
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    state.optimizers.step()
    for parameter in weights:
        parameter.grad = None


def unlike(theirs: object, ours: Tensor) -> str:
    """The reason why a saved tensor cannot replace one of ours; "" if it can. Devices may differ."""
    if not isinstance(theirs, Tensor):
        return f"is {shortened(theirs)} and no tensor"
    if theirs.shape != ours.shape:
        return f"has the shape {tuple(theirs.shape)}, not {tuple(ours.shape)}"
    if theirs.dtype != ours.dtype:
        return f"is of {theirs.dtype}, not {ours.dtype}"
    return ""
