"""Adam with decoupled weight decay."""

from __future__ import annotations

from torch import Tensor, optim

from dlrun.config.options import Fraction, NonNegative, Positive

elementwise = True  # one optimizer serves all seeds


def adamw(
    parameters: list[Tensor],
    *,
    lr: NonNegative,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.01,
) -> optim.Optimizer:
    """Adam with decoupled weight decay. Source: Loshchilov and Hutter 2017, arXiv 1711.05101.

    Args:
        lr: Learning rate, about the largest change of a weight in a step; 0.001 is usual. The schedule
            multiplies it.
        beta1: Smoothing of the gradient's running mean; nearer to 1 is smoother and slower.
        beta2: Smoothing of the squared gradient's running mean.
        eps: Number added to the denominator, against division by 0; larger ones weaken Adam's scaling of
            gradients.
        weight_decay: Share of each weight, times lr, that is taken off in a step.

    Example:
        optimizer: {name: adamw, lr: 0.001, weight_decay: 0.05}
    """
    return optim.AdamW(
        parameters,
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        weight_decay=weight_decay,
        fused=True,
        capturable=parameters[0].is_cuda,  # so that a graph may hold it
    )
