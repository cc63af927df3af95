"""A multilayer perceptron from raw tensors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from dlrun.blocks.vectors import vector_size
from dlrun.config.options import Count


def mlp_scratch(
    shape: tuple[int, ...], outputs: int, *, hidden: Sequence[Count] = (200, 200), relu_output: bool = False
) -> nn.Module:
    """ReLU layers from raw tensors, (batch, …) -> (batch, outputs); images are flattened.

    Weights (outputs, inputs) start with Kaiming normal initialisation, standard deviation √(2 / inputs),
    biases at 0. Source: He et al. 2015, arXiv 1502.01852.

    Args:
        hidden: Units of each hidden layer.
        relu_output: Put a ReLU behind the last layer too.
    """
    return MlpScratch([vector_size(shape, flatten=True), *hidden, outputs], relu_output)


class MlpScratch(nn.Module):
    """The weights as raw tensors, registered as parameters so that they are moved, saved and loaded."""

    def __init__(self, sizes: Sequence[int], relu_output: bool) -> None:
        super().__init__()
        self.relu_output = relu_output
        self.weights = nn.ParameterList(
            torch.randn(after, before) * (2 / before) ** 0.5 for before, after in pairwise(sizes)
        )
        self.biases = nn.ParameterList(torch.zeros(after) for after in sizes[1:])

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight.T + bias
            if layer < last or self.relu_output:
                x = x * (x > 0)
        return x
