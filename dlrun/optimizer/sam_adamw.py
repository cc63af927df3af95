"""Sharpness-aware minimisation with AdamW."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, optim

from dlrun.blocks.sharpness import sharpness_aware, sharpness_aware_step
from dlrun.config.options import Fraction, NonNegative, Positive


def sam_adamw(
    parameters: list[Tensor],
    *,
    lr: NonNegative,
    rho: Positive = 0.05,
    adaptive: bool = False,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.01,
) -> optim.Optimizer:
    """AdamW along the gradient at weights a little uphill, where the loss of a sharp minimum is high (SAM).

    A step computes the loss of its batch twice, with the same augmentation and dropout; train_loss is that of
    the first time. Batch normalisations take the statistics of both times into their running ones. Sources:
    Foret et al. 2020, arXiv 2010.01412; Kwon et al. 2021, arXiv 2102.11600, for the adaptive one (ASAM).

    Args:
        lr: Learning rate, about the largest change of a weight in a step; the schedule multiplies it.
        rho: Length of the step uphill; 0.05 is usual, and ten times as much where it is adaptive.
        adaptive: Go uphill farther where weights are large, so that their scale does not matter (ASAM).
        beta1: Smoothing of the gradient's running mean; nearer to 1 is smoother and slower.
        beta2: Smoothing of the squared gradient's running mean.
        eps: Number added to the denominator, against division by 0.
        weight_decay: Share of each weight, times lr, that is taken off in a step.

    Example:
        optimizer: {name: sam_adamw, lr: 0.001}
    """
    betas = (beta1, beta2)
    made = SharpnessAwareAdamW(parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=True)
    return sharpness_aware(made, rho=rho, adaptive=adaptive)


class SharpnessAwareAdamW(optim.AdamW):
    """AdamW whose groups state `rho` and `adaptive`."""

    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        return sharpness_aware_step(self, optim.AdamW, closure)
