"""NAdam."""

from __future__ import annotations

from torch import Tensor, optim

from dlrun.config.options import Fraction, NonNegative, Positive

elementwise = True  # one optimizer serves all seeds


def nadam(
    parameters: list[Tensor],
    *,
    lr: NonNegative,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    eps: Positive = 1e-8,
    momentum_decay: NonNegative = 0.004,
    weight_decay: NonNegative = 0.0,
    decoupled: bool = False,
) -> optim.Optimizer:
    """Adam with Nesterov momentum. Source: Dozat 2016.

    Args:
        lr: Learning rate, about the largest change of a weight in a step; the schedule multiplies it.
        beta1: Smoothing of the gradient's running mean; nearer to 1 is smoother and slower.
        beta2: Smoothing of the squared gradient's running mean.
        eps: Number added to the denominator, against division by 0.
        momentum_decay: Fall of the momentum in early steps.
        weight_decay: Share of each weight that is added to its gradient, or taken off it if `decoupled`.
        decoupled: Take weight decay off the weights, as AdamW does.

    Example:
        optimizer: {name: nadam, lr: 0.001}
    """
    return optim.NAdam(
        parameters,
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        momentum_decay=momentum_decay,
        weight_decay=weight_decay,
        decoupled_weight_decay=decoupled,
        capturable=parameters[0].is_cuda,  # so that a graph may hold it
    )
