"""Stochastic gradient descent."""

from __future__ import annotations

from torch import Tensor, optim

from dlrun.config.options import Fraction, NonNegative

elementwise = True  # one optimizer serves all seeds


def sgd(
    parameters: list[Tensor],
    *,
    lr: NonNegative,
    momentum: Fraction = 0.0,
    nesterov: bool = False,
    weight_decay: NonNegative = 0.0,
) -> optim.Optimizer:
    """Stochastic gradient descent, optionally with momentum and weight decay."""
    return optim.SGD(
        parameters, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, fused=True
    )
