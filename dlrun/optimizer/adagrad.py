"""Adagrad."""

from __future__ import annotations

from torch import Tensor, optim

from dlrun.config.options import NonNegative, Positive

elementwise = True  # one optimizer serves all seeds


def adagrad(
    parameters: list[Tensor],
    *,
    lr: NonNegative,
    lr_decay: NonNegative = 0.0,
    eps: Positive = 1e-10,
    weight_decay: NonNegative = 0.0,
) -> optim.Optimizer:
    """Adagrad: the gradient divided by the root of the sum of its squares so far. Source: Duchi et al. 2011.

    Args:
        lr: Learning rate, about the largest change of a weight in a step; the schedule multiplies it.
        lr_decay: Fall of the rate with the steps: it is divided by 1 + lr_decay · steps.
        eps: Number added to the denominator, against division by 0.
        weight_decay: L2 penalty: the share of each weight that is added to its gradient.

    Example:
        optimizer: {name: adagrad, lr: 0.001}
    """
    return optim.Adagrad(
        parameters,
        lr=lr,
        lr_decay=lr_decay,
        eps=eps,
        weight_decay=weight_decay,
    )
