"""One linear layer: linear, logistic and softmax regression."""

from __future__ import annotations

from torch import nn

from dlrun.blocks.vectors import vector_size
from dlrun.config.options import Positive


def linear(
    shape: tuple[int, ...], outputs: int, *, weight_sd: Positive | None = None, flatten: bool = False
) -> nn.Module:
    """One linear layer: (batch, features) -> (batch, outputs).

    Args:
        weight_sd: Standard deviation of the first weights, normally distributed around 0, with biases of 0;
            null starts both as torch.nn.Linear does.
        flatten: Turn images into vectors first.
    """
    layer = nn.Linear(vector_size(shape, flatten), outputs)
    if weight_sd is not None:
        nn.init.normal_(layer.weight, std=weight_sd)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(nn.Flatten(), layer) if flatten else nn.Sequential(layer)
