"""Adamax."""

from __future__ import annotations

from torch import Tensor, optim

from dlrun.config.options import Fraction, NonNegative, Positive

elementwise = True  # one optimizer serves all seeds


def adamax(
    parameters: list[Tensor],
    *,
    lr: NonNegative,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.0,
) -> optim.Optimizer:
    """Adam with the largest recent gradient in the denominator.

    Source: Kingma and Ba 2014, arXiv 1412.6980, section 7.

    Args:
        lr: Learning rate, about the largest change of a weight in a step; the schedule multiplies it.
        beta1: Smoothing of the gradient's running mean; nearer to 1 is smoother and slower.
        beta2: Share of the largest gradient that is kept from one step to the next.
        eps: Number added to the denominator, against division by 0.
        weight_decay: L2 penalty: the share of each weight that is added to its gradient.

    Example:
        optimizer: {name: adamax, lr: 0.001}
    """
    return optim.Adamax(
        parameters,
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        weight_decay=weight_decay,
        capturable=parameters[0].is_cuda,  # so that a graph may hold it
    )
