"""Fully connected layers with a residual connection around each."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn

from dlrun.config.options import Count


def my_part(shape: tuple[int, ...], outputs: int, *, width: Count = 32, blocks: Count = 2) -> nn.Module:
    """Residual blocks of fully connected units, (batch, *shape) -> (batch, outputs).

    An architecture is `x(shape, outputs, *, …) -> nn.Module`. `shape` is that of one input without the batch,
    and the task says how many `outputs` are needed. The outputs are logits: there is no softmax at the end.

    Args:
        width: Units of each block.
        blocks: Residual blocks on top of each other.
    """
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(prod(shape), width),
        *(Block(width) for _ in range(blocks)),
        nn.Linear(width, outputs),
    )


class Block(nn.Module):
    """x + W₂ ReLU(W₁ LayerNorm(x))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # A norm of each example by itself: it is the same in training and in evaluation.
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        residual: Tensor = self.layers(inputs)
        return inputs + residual
