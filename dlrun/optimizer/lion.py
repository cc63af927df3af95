"""Lion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, optim

from dlrun.config.options import Fraction, NonNegative

elementwise = True  # one optimizer serves all seeds


def lion(
    parameters: list[Tensor],
    *,
    lr: NonNegative,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.99,
    weight_decay: NonNegative = 0.0,
) -> optim.Optimizer:
    """Lion: steps of one size, by the sign of a running mean of gradients.

    Source: Chen et al. 2023, arXiv 2302.06675.

    Args:
        lr: Learning rate, the change of every weight in a step; a third to a tenth of AdamW's is usual. The
            schedule multiplies it.
        beta1: Share of the running mean, beside the new gradient, in what a step is the sign of.
        beta2: Smoothing of the running mean itself.
        weight_decay: Share of each weight, times the rate, that is taken off it in a step; three to ten times
            AdamW's is usual.

    Example:
        optimizer: {name: lion, lr: 0.0003, weight_decay: 0.1}
    """
    return Lion(parameters, {"lr": lr, "beta1": beta1, "beta2": beta2, "weight_decay": weight_decay})


class Lion(optim.Optimizer):
    """The update of Lion: w ← w - lr (sign(β₁ m + (1 - β₁) g) + λ w), then m ← β₂ m + (1 - β₂) g."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight]["mean"] = torch.zeros_like(weight)
            gradients, means = ([w.grad for w in weights], [self.state[w]["mean"] for w in weights])
            signs = torch._foreach_lerp(means, gradients, 1 - group["beta1"])
            torch._foreach_sign_(signs)
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(weights, signs, alpha=-group["lr"])
            torch._foreach_lerp_(means, gradients, 1 - group["beta2"])
