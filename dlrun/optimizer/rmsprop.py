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
    """RMSprop: the gradient divided by the root of its running mean square, smoothed by `alpha`."""
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
