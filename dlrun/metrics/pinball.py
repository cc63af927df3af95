"""The pinball loss of a quantile."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.config.options import Fraction

task = "regression"
of_estimates = True
better = "lower"
in_target_unit = True


def pinball(outputs: Tensor, targets: Tensor, *, quantile: Fraction = 0.5) -> Tensor:
    """The absolute error, weighted by `quantile` where the target is above the output, else by the rest.

    Both are (n, d); gives the mean over d, (n,). It is least for the quantile of the targets, and at 0.5 half
    of the absolute error. Source: Koenker and Bassett 1978.

    Args:
        quantile: Share of the targets that are to lie below the output.
    """
    above = targets - outputs
    return torch.maximum(quantile * above, (quantile - 1) * above).mean(1)
