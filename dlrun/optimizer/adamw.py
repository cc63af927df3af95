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
    """Adam with decoupled weight decay. Source: Loshchilov and Hutter 2017, arXiv 1711.05101."""
    return optim.AdamW(
        parameters,
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        weight_decay=weight_decay,
        fused=True,
        capturable=parameters[0].is_cuda,  # so that a graph may hold it
    )
