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
    """Stochastic gradient descent, optionally with momentum and weight decay.

    Args:
        lr: Learning rate, by which the gradient is multiplied in a step; the schedule multiplies it in turn.
        momentum: Share of the last step that is kept in the next one, often 0.9.
        nesterov: Take the gradient as if the momentum's step were done (Nesterov's momentum; needs momentum).
        weight_decay: L2 penalty: the share of each weight that is added to its gradient.

    Example:
        optimizer: {name: sgd, lr: 0.1, momentum: 0.9}
    """
    return optim.SGD(
        parameters, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, fused=True
    )
