"""Adadelta."""

from __future__ import annotations

from torch import Tensor, optim

from dlrun.config.options import Fraction, NonNegative, Positive

elementwise = True  # one optimizer serves all seeds


def adadelta(
    parameters: list[Tensor],
    *,
    lr: NonNegative = 1.0,
    rho: Fraction = 0.9,
    eps: Positive = 1e-6,
    weight_decay: NonNegative = 0.0,
) -> optim.Optimizer:
    """Adadelta: the gradient in the unit of the weights, by running mean squares.

    Source: Zeiler 2012, arXiv 1212.5701.

    Args:
        lr: Learning rate, by which the step that the method finds is multiplied; the schedule multiplies it.
        rho: Smoothing of the running mean squares; nearer to 1 is smoother and slower.
        eps: Number added to the denominator, against division by 0.
        weight_decay: L2 penalty: the share of each weight that is added to its gradient.

    Example:
        optimizer: {name: adadelta, lr: 1.0}
    """
    return optim.Adadelta(
        parameters,
        lr=lr,
        rho=rho,
        eps=eps,
        weight_decay=weight_decay,
        capturable=parameters[0].is_cuda,  # so that a graph may hold it
    )
