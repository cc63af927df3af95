"""Adam."""

from __future__ import annotations

from torch import Tensor, optim

from dlrun.config.options import Fraction, NonNegative, Positive

elementwise = True  # one optimizer serves all seeds


def adam(
    parameters: list[Tensor],
    *,
    lr: NonNegative,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.0,
) -> optim.Optimizer:
    """Adam; weight decay is added to the gradient. Source: Kingma and Ba 2014, arXiv 1412.6980.

    Args:
        lr: Learning rate, about the largest change of a weight in a step; 0.001 is usual. The schedule
            multiplies it.
        beta1: Smoothing of the gradient's running mean; nearer to 1 is smoother and slower.
        beta2: Smoothing of the squared gradient's running mean.
        eps: Number added to the denominator, against division by 0; larger ones weaken Adam's scaling of
            gradients.
        weight_decay: L2 penalty: the share of each weight that is added to its gradient.

    Example:
        optimizer: {name: adam, lr: 0.001}
    """
    return optim.Adam(
        parameters,
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        weight_decay=weight_decay,
        fused=True,
        capturable=parameters[0].is_cuda,  # so that a graph may hold it
    )
