"""LAMB."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, optim

from dlrun.config.options import Fraction, NonNegative, Positive


def lamb(
    parameters: list[Tensor],
    *,
    lr: NonNegative,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    eps: Positive = 1e-6,
    weight_decay: NonNegative = 0.01,
) -> optim.Optimizer:
    """LAMB: Adam whose step of each weight tensor is as long as a share of the tensor; for large batches.

    Source: You et al. 2019, arXiv 1904.00962, algorithm 2.

    Args:
        lr: Learning rate, the length of a step as a share of the tensor's length. The schedule multiplies it.
        beta1: Smoothing of the gradient's running mean; nearer to 1 is smoother and slower.
        beta2: Smoothing of the squared gradient's running mean.
        eps: Number added to the denominator, against division by 0.
        weight_decay: Share of each weight that is added to its step before this is scaled.

    Example:
        optimizer: {name: lamb, lr: 0.01}
    """
    stated = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
    return Lamb(parameters, stated)


class Lamb(optim.Optimizer):
    """The update of LAMB: w ← w - lr · ‖w‖ / ‖r‖ · r, where r = m̂ / (√v̂ + ε) + λ w is Adam's step."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, self.state[weight], **group)

    def _update(
        self,
        weight: Tensor,
        gradient: Tensor,
        state: dict[str, Any],
        *,
        lr: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
        **_more: Any,
    ) -> None:
        if not state:
            state |= {"step": 0, "mean": torch.zeros_like(weight), "square": torch.zeros_like(weight)}
        state["step"] += 1
        mean = state["mean"].lerp_(gradient, 1 - beta1)
        square = state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        root = (square / (1 - beta2 ** state["step"])).sqrt_().add_(eps)
        step = (mean / (1 - beta1 ** state["step"])).div_(root).add_(weight, alpha=weight_decay)
        lengths = weight.norm() / step.norm()
        ratio = torch.where((lengths > 0) & lengths.isfinite(), lengths, 1.0)  # of zeros: Adam's own step
        weight.sub_(lr * ratio * step)
