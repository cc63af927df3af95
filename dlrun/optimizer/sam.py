"""Sharpness-aware minimisation with SGD."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, optim

from dlrun.blocks.sharpness import sharpness_aware, sharpness_aware_step
from dlrun.config.options import Fraction, NonNegative, Positive


def sam(
    parameters: list[Tensor],
    *,
    lr: NonNegative,
    rho: Positive = 0.05,
    adaptive: bool = False,
    momentum: Fraction = 0.9,
    nesterov: bool = False,
    weight_decay: NonNegative = 0.0,
) -> optim.Optimizer:
    """SGD along the gradient at weights a little uphill, where the loss of a sharp minimum is high (SAM).

    A step computes the loss of its batch twice, with the same augmentation and dropout; train_loss is that of
    the first time. Batch normalisations take the statistics of both times into their running ones. Sources:
    Foret et al. 2020, arXiv 2010.01412; Kwon et al. 2021, arXiv 2102.11600, for the adaptive one (ASAM).

    Args:
        lr: Learning rate, by which the gradient is multiplied in a step; the schedule multiplies it in turn.
        rho: Length of the step uphill; 0.05 is usual, and ten times as much where it is adaptive.
        adaptive: Go uphill farther where weights are large, so that their scale does not matter (ASAM).
        momentum: Share of the last step that is kept in the next one.
        nesterov: Take the gradient as if the momentum's step were done (Nesterov's momentum; needs momentum).
        weight_decay: L2 penalty: the share of each weight that is added to its gradient.

    Example:
        optimizer: {name: sam, lr: 0.1, rho: 0.05}
    """
    options = {"momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
    made = SharpnessAwareSGD(parameters, lr=lr, fused=True, **options)  # type: ignore[arg-type]
    return sharpness_aware(made, rho=rho, adaptive=adaptive)


class SharpnessAwareSGD(optim.SGD):
    """SGD whose groups state `rho` and `adaptive`."""

    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        return sharpness_aware_step(self, optim.SGD, closure)
