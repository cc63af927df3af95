"""The positions of a sequence, added to its vectors: learnt, or sines and cosines."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn


class Learnt(nn.Module):
    """Adds a learnt vector at each position: (batch, length, width) -> (batch, length, width)."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(0.02 * torch.randn(length, width))  # as those of GPT-2 begin

    def forward(self, x: Tensor) -> Tensor:
        return x + self.vectors[: x.shape[1]]


class Sinusoidal(nn.Module):
    """√width x + p, where p(t, 2i) = sin(t/10000^(2i/width)) and p(t, 2i + 1) is the cosine of the same.

    (batch, length, width) -> (batch, length, width). Source: Vaswani et al. 2017, sections 3.4 and 3.5.
    """

    vectors: Tensor

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        rates = 10000 ** (-torch.arange(0, width, 2) / width)
        angles = torch.arange(length).unsqueeze(1) * rates
        waves = torch.stack([angles.sin(), angles.cos()], 2).flatten(1)  # one too many if width is odd
        self.register_buffer("vectors", waves[:, :width].clone())
        self.scale = sqrt(width)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.vectors[: x.shape[1]]
