"""The Poisson likelihood of counts."""

from __future__ import annotations

import torch
from torch import Tensor

task = "regression"
of_estimates = True
own_unit = True  # a count that is scaled is no count

_LARGEST = 80.0  # logarithm of a rate: beyond it float32 overflows


def poisson(outputs: Tensor, targets: Tensor) -> Tensor:
    """Minus the logarithm of the Poisson probability of the targets, in nats: λ - y log λ + log y!.

    `outputs` are rates λ, the exponentials of what the model gives, and `targets` counts y of 0 or more, both
    of shape (n, d); gives (n,), the mean over d. A target below 0 makes it nan, at which training stops.
    """
    losses = outputs - torch.xlogy(targets, outputs) + torch.lgamma(targets + 1)
    return losses.where(targets >= 0, torch.nan).mean(1)


def head(outputs: Tensor) -> Tensor:
    """The rates of logarithms of rates (n, d)."""
    return outputs.clamp(-_LARGEST, _LARGEST).exp()
