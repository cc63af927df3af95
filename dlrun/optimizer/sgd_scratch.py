"""Stochastic gradient descent written out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, optim

from dlrun.config.options import NonNegative

elementwise = True  # one optimizer serves all seeds


def sgd_scratch(parameters: list[Tensor], *, lr: NonNegative) -> optim.Optimizer:
    """Plain gradient descent, p ← p - lr · gradient, without momentum or weight decay.

    Args:
        lr: Learning rate, by which the gradient is multiplied in a step; the schedule multiplies it in turn.

    Example:
        optimizer: {name: sgd_scratch, lr: 0.1}
    """
    return SgdScratch(parameters, lr)


class SgdScratch(optim.Optimizer):
    """The update of plain gradient descent, written out."""

    def __init__(self, parameters: list[Tensor], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p -= group["lr"] * p.grad
