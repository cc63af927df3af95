"""Dropout of numbers and of whole branches, for architectures in which they may be turned off."""

from __future__ import annotations

from torch import Tensor, nn


def dropout_of(probability: float) -> nn.Module:
    """A dropout, or a layer that does nothing if the probability is 0."""
    return nn.Dropout(probability) if probability else nn.Identity()


class DropPath(nn.Module):
    """Leave a branch out for some examples in training (stochastic depth): (batch, …) -> (batch, …).

    An example's branch becomes 0 with `probability`, and 1 / (1 - probability) of itself otherwise. Source:
    Huang et al. 2016, arXiv 1603.09382.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(probability)

    def forward(self, branch: Tensor) -> Tensor:
        kept: Tensor = self.dropout(branch.new_ones(branch.shape[0], *[1] * (branch.dim() - 1)))
        return branch * kept


def drop_paths_of(last: float, blocks: int) -> list[float]:
    """The probability of each block, which grows evenly from 0 to that of the last one."""
    return [last * (number / (blocks - 1) if blocks > 1 else 1) for number in range(blocks)]
