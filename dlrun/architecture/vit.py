"""The Vision Transformer: an image as a sequence of square patches."""

from __future__ import annotations

from math import gcd
from typing import Literal

import torch
from torch import Tensor, nn

from dlrun.blocks.attention import Block, refuse_heads, start_as_gpt2
from dlrun.blocks.dropout import drop_paths_of, dropout_of
from dlrun.blocks.positions import Learnt
from dlrun.config.options import Count, Fraction
from dlrun.data.examples import Data
from dlrun.errors import UserError


def vit(
    shape: tuple[int, ...],
    outputs: int,
    data: Data,
    *,
    patch_size: Count = 4,
    layers: Count = 6,
    width: Count = 128,
    heads: Count = 4,
    feedforward: Count | None = None,
    dropout: Fraction = 0.0,
    drop_path: Fraction = 0.0,
    pooling: Literal["token", "mean"] = "token",
) -> nn.Module:
    """The Vision Transformer (ViT): (batch, channels, height, width) -> (batch, outputs).

    The image is cut into squares. Each becomes a vector by a linear layer; learnt positions are added, and
    blocks of attention follow. Source: Dosovitskiy et al. 2021, arXiv 2010.11929, with the first weights of
    GPT-2.

    Args:
        patch_size: Side of the squares in pixels; they have to fill the image.
        layers: Blocks of attention and fully connected units on top of each other.
        width: Numbers in the vector of each square; `heads` has to divide it.
        heads: Attentions side by side in each block, each with its share of the width.
        feedforward: Units of the fully connected layer in each block; null: 4·width.
        dropout: Probability of setting a number to 0 in training, in front of the blocks and in all that they
            add.
        drop_path: Probability of leaving out what the last block adds, for each example in training; that of
            earlier blocks is smaller, down to 0 for the first (Huang et al. 2016, arXiv 1603.09382).
        pooling: Vector that the outputs are computed from: a learnt token in front of the squares, or the
            mean over them.
    """
    if len(shape) != 3:
        raise UserError(f"it takes images, but the inputs are {'×'.join(map(str, shape))}")
    if data.places:
        what = "it gives one row of outputs for an image, not a class for each pixel"
        raise UserError(what, fix="take unet")
    channels, *sides = shape
    if any(side % patch_size for side in sides):
        common = gcd(*sides)
        fitting = [str(size) for size in range(1, common + 1) if common % size == 0]
        raise UserError(
            f"patches of {patch_size}×{patch_size} pixels do not fill images of {sides[0]}×{sides[1]}",
            fix=f"set patch_size to {' or '.join(fitting)}",
        )
    refuse_heads(width, heads)
    patches = (sides[0] // patch_size) * (sides[1] // patch_size)
    model = VisionTransformer(
        patch_size,
        nn.Linear(channels * patch_size**2, width),
        Learnt(patches + (pooling == "token"), width),
        [
            Block(width, heads, feedforward or 4 * width, dropout, drop_path=own)
            for own in drop_paths_of(drop_path, layers)
        ],
        nn.Linear(width, outputs),
        dropout_of(dropout),
        has_token=pooling == "token",
    )
    start_as_gpt2(model)
    return model


class VisionTransformer(nn.Module):
    """Patches through a first layer, a token in front if wanted, positions, blocks, and an output layer."""

    def __init__(
        self,
        patch_size: int,
        first: nn.Linear,
        positions: nn.Module,
        blocks: list[Block],
        head: nn.Linear,
        dropout: nn.Module,
        *,
        has_token: bool,
    ) -> None:
        super().__init__()
        self.patch_size, self.first = patch_size, first
        self.token = nn.Parameter(torch.zeros(first.out_features)) if has_token else None
        self.positions, self.dropout = positions, dropout
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(first.out_features)
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        x = self.first(patches_of(images, self.patch_size))
        if self.token is not None:
            x = torch.cat([self.token.expand(x.shape[0], 1, -1), x], 1)
        x = self.dropout(self.positions(x))
        for block in self.blocks:
            x = block(x)
        x = self.norm(x if self.token is None else x[:, 0])
        outputs: Tensor = self.head(x.mean(1) if self.token is None else x)
        return outputs


def patches_of(images: Tensor, size: int) -> Tensor:
    """The squares of images, row by row: (batch, channels, height, width) -> (batch, n, channels·size²)."""
    squares: Tensor = images.unflatten(3, (-1, size)).unflatten(2, (-1, size))
    # (batch, channels, rows, size, columns, size) -> (batch, rows, columns, channels, size, size)
    return squares.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
