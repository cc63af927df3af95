"""Softmax regression from raw tensors, to be used with the loss cross_entropy_scratch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlrun.blocks.vectors import vector_size
from dlrun.config.options import Positive


def softmax_scratch(shape: tuple[int, ...], outputs: int, *, weight_sd: Positive = 0.01) -> nn.Module:
    """The logits x W + b of softmax regression, (batch, …) -> (batch, outputs); images are flattened.

    The biases b start at 0.

    Args:
        weight_sd: Standard deviation of the first weights W, normally distributed around 0.
    """
    return SoftmaxScratch(vector_size(shape, flatten=True), outputs, weight_sd)


class SoftmaxScratch(nn.Module):
    """Two raw tensors, registered as parameters so that they are moved, saved and loaded."""

    def __init__(self, inputs: int, outputs: int, weight_sd: float) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.normal(0.0, weight_sd, (inputs, outputs)))
        self.b = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.W + self.b
