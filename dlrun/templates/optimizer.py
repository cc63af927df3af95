"""Lion: steps of equal size in the direction of the sign of a smoothed gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, optim

from dlrun.config.options import Fraction, NonNegative

# No figure is computed over several elements, such as a norm. So one optimizer can serve all seeds of a run,
# which is faster. Delete the line if yours computes one.
elementwise = True


def my_part(
    parameters: list[Tensor],
    *,
    lr: NonNegative = 1e-3,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.99,
    weight_decay: NonNegative = 0.0,
) -> optim.Optimizer:
    """Lion. Source: Chen et al. 2023, arXiv 2302.06675.

    An optimizer is `x(parameters, *, lr, …) -> torch.optim.Optimizer`. Every further keyword is an option.
    Call the first parameter `named_parameters` to be given pairs of name and tensor.

    Args:
        lr: Learning rate, the change of every weight in a step.
        beta1: Share of the smoothed gradient in the direction of a step; the rest is the new gradient.
        beta2: Smoothing of the gradient; nearer to 1 is smoother and slower.
        weight_decay: Share of each weight, times lr, that is taken off in a step.
    """
    return Lion(parameters, {"lr": lr, "betas": (beta1, beta2), "weight_decay": weight_decay})


class Lion(optim.Optimizer):
    """Keeps its state in `self.state` and `param_groups`, which a checkpoint saves; not in attributes."""

    def __init__(self, parameters: list[Tensor], options: dict[str, Any]) -> None:
        super().__init__(parameters, options)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                step = momentum.lerp(p.grad, 1 - beta1).sign()
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * step)
                momentum.lerp_(p.grad, 1 - beta2)
