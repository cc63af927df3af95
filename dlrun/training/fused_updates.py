"""Updates by the fused kernels of SGD, Adam and AdamW, without PyTorch's work around them.

That is grouping tensors by device and checks of options that dlrun does not use, which take longer than the
kernel on a small model. tests/training/test_fused_updates.py holds each update against PyTorch's own.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

GroupUpdate = Callable[[], object]  # of one parameter group
Group = dict[str, Any]
Tensors = tuple[Tensor, ...] | list[Tensor]
_dtype = attrgetter("dtype")


def fused_update(optimizer: Optimizer) -> bool:
    """Do one step of an optimizer; False, with nothing done, of one that is to do it itself.

    That is any other optimizer, one that is to skip steps, any other device than the CPU, and the first
    step, in which the optimizer makes its state.
    """
    update_of = _KERNELS.get(type(optimizer))
    if update_of is None or getattr(optimizer, "found_inf", None) is not None:
        return False
    updates = []
    for group in optimizer.param_groups:
        learning = [(weight, weight.grad) for weight in group["params"] if weight.grad is not None]
        update = update_of(optimizer, group, *zip(*learning, strict=True)) if learning else _nothing
        if update is None:
            return False
        updates.append(update)
    for update in updates:
        update()
    return True


def _nothing() -> None:
    """The update of a group none of whose weights learns."""


def _sgd(optimizer: Optimizer, group: Group, weights: Tensors, gradients: Tensors) -> GroupUpdate | None:
    momentum = _of_each(optimizer, weights, "momentum_buffer") if group["momentum"] else []
    if momentum is None or not _is_plain(group, weights):
        return None
    return lambda: torch._fused_sgd_(
        weights,
        gradients,
        momentum,
        weight_decay=group["weight_decay"],
        momentum=group["momentum"],
        lr=group["lr"],
        dampening=group["dampening"],
        nesterov=group["nesterov"],
        maximize=group["maximize"],
        is_first_step=False,
    )


def _adam(optimizer: Optimizer, group: Group, weights: Tensors, gradients: Tensors) -> GroupUpdate | None:
    means, squares, steps = (_of_each(optimizer, weights, name) for name in ("exp_avg", "exp_avg_sq", "step"))
    if means is None or squares is None or steps is None or group["amsgrad"] or not _is_plain(group, weights):
        return None
    kernel = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_

    def update() -> None:
        torch._foreach_add_(steps, 1)
        kernel(
            weights,
            gradients,
            means,
            squares,
            [],
            steps,
            amsgrad=False,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=group["maximize"],
        )

    return update


def _is_plain(group: Group, weights: Tensors) -> bool:
    """True of fused updates on the CPU of weights of one type, whose rate is a number."""
    first = weights[0]
    is_fused = group["fused"] and not isinstance(group["lr"], Tensor) and first.device.type == "cpu"
    return bool(is_fused) and len({*map(_dtype, weights)}) == 1


def _of_each(optimizer: Optimizer, weights: Tensors, name: str) -> list[Tensor] | None:
    """The state of each weight under a name; None before the optimizer has made it."""
    states = [optimizer.state[weight] for weight in weights if weight in optimizer.state]
    kept = [state[name] for state in states if state.get(name) is not None]
    return kept if len(kept) == len(weights) else None


_KERNELS: dict[type, Callable[[Optimizer, Group, Tensors, Tensors], GroupUpdate | None]] = {
    SGD: _sgd,
    Adam: _adam,
    AdamW: _adam,
}
