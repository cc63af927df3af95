"""Adafactor."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Lt
from torch import Tensor, optim

from dlrun.config.options import NonNegative, Positive


def adafactor(
    parameters: list[Tensor],
    *,
    lr: NonNegative,
    beta2_decay: Annotated[float, Lt(0)] = -0.8,
    clip: Positive = 1.0,
    weight_decay: NonNegative = 0.0,
) -> optim.Optimizer:
    """Adafactor: AdamW with the squared gradients of a matrix kept by row and column, in little memory.

    Source: Shazeer and Stern 2018, arXiv 1804.04235.

    Args:
        lr: Learning rate, the largest relative change of a weight in a step; the schedule multiplies it.
        beta2_decay: Power of the steps by which the smoothing of squared gradients nears 1.
        clip: Largest root mean square of a step, before the rate.
        weight_decay: Share of each weight, times the rate, that is taken off it in a step, apart from the
            gradient.

    Example:
        optimizer: {name: adafactor, lr: 0.001}
    """
    return optim.Adafactor(
        parameters,
        lr=lr,
        beta2_decay=beta2_decay,
        d=clip,
        weight_decay=weight_decay,
    )
