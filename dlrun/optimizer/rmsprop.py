"""RMSprop."""

from __future__ import annotations

from torch import Tensor, optim

from dlrun.config.options import Fraction, NonNegative, Positive

elementwise = True  # one optimizer serves all seeds


def rmsprop(
    parameters: list[Tensor],
    *,
    lr: NonNegative,
    alpha: Fraction = 0.99,
    eps: Positive = 1e-8,
    momentum: Fraction = 0.0,
    centered: bool = False,
    weight_decay: NonNegative = 0.0,
) -> optim.Optimizer:
    """RMSprop: the gradient divided by the root of its running mean square. Source: Tieleman and Hinton 2012.

    Args:
        lr: Learning rate, about the change of a weight in a step; 0.001 is usual. The schedule multiplies it.
        alpha: Smoothing of the squared gradient's running mean; nearer to 1 is smoother and slower.
        eps: Number added to the denominator, against division by 0.
        momentum: Share of the last step that is kept in the next one.
        centered: Divide by the gradient's running standard deviation, in place of the root of its mean
            square.
        weight_decay: L2 penalty: the share of each weight that is added to its gradient.

    Example:
        optimizer: {name: rmsprop, lr: 0.001}
    """
    return optim.RMSprop(
        parameters,
        lr=lr,
        alpha=alpha,
        eps=eps,
        momentum=momentum,
        centered=centered,
        weight_decay=weight_decay,
        capturable=parameters[0].is_cuda,  # so that a graph may hold it
    )
