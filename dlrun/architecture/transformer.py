"""A transformer for sequences: it classifies texts and series, or predicts the next token."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from dlrun.blocks.attention import Block, refuse_heads, start_as_gpt2
from dlrun.blocks.dropout import drop_paths_of, dropout_of
from dlrun.blocks.positions import Learnt, Sinusoidal
from dlrun.blocks.sequences import PADDING, is_padded, pooled, refuse_other_than_sequences
from dlrun.config.options import Count, Fraction
from dlrun.data.examples import Data
from dlrun.errors import UserError


def transformer(
    shape: tuple[int, ...],
    outputs: int,
    data: Data,
    *,
    layers: Count = 4,
    width: Count = 128,
    heads: Count = 4,
    feedforward: Count | None = None,
    dropout: Fraction = 0.0,
    drop_path: Fraction = 0.0,
    positions: Literal["learnt", "sinusoidal"] = "learnt",
    causal: bool = False,
    tied: bool = False,
) -> nn.Module:
    """A transformer: ids (batch, length) or a series (batch, length, features) -> (batch, outputs).

    If the targets are a class for each position, it gives (batch, outputs, length); otherwise the outputs are
    those of the mean over the positions. An embedding (for a series a linear layer), to which positions are
    added, is followed by blocks of attention. Padding, id 0 if the vocabulary begins with "", has to stand at
    the end: no token sees it, and the mean leaves it out. Inputs may be shorter than `shape`.

    Sources: Vaswani et al. 2017, arXiv 1706.03762; normalisation in front of each layer as in Xiong et al.
    2020, arXiv 2002.04745; first weights and learnt positions as in GPT-2 (Radford et al. 2019).

    Args:
        layers: Blocks of attention and fully connected units on top of each other.
        width: Numbers in the vector of each position; `heads` has to divide it.
        heads: Attentions side by side in each block, each with its share of the width.
        feedforward: Units of the fully connected layer in each block; null: 4·width.
        dropout: Probability of setting a number to 0 in training, in front of the blocks and in all that they
            add.
        drop_path: Probability of leaving out what the last block adds, for each example in training; that of
            earlier blocks is smaller, down to 0 for the first (Huang et al. 2016, arXiv 1603.09382).
        positions: Vectors that tell positions apart: learnt with the model, or fixed sines and cosines.
        causal: Let no position see a later one, which predicting the next token needs.
        tied: Use the weights of the embedding for the output layer (Press and Wolf 2017, arXiv 1608.05859).
    """
    refuse_other_than_sequences(shape, data)
    refuse_heads(width, heads)
    tokens = len(data.vocabulary)
    if tied and outputs != tokens:
        what = f"tied needs an output for each token, but there are {tokens} tokens and {outputs} outputs"
        raise UserError(what, fix="set tied: false")
    model = Transformer(
        nn.Embedding(tokens, width) if tokens else nn.Linear(shape[1], width),
        Learnt(shape[0], width) if positions == "learnt" else Sinusoidal(shape[0], width),
        [
            Block(width, heads, feedforward or 4 * width, dropout, causal=causal, drop_path=own)
            for own in drop_paths_of(drop_path, layers)
        ],
        nn.LayerNorm(width),
        None if tied else nn.Linear(width, outputs),
        dropout_of(dropout),
        padded=is_padded(data),
        causal=causal,
        at_each_position=bool(data.places),
    )
    start_as_gpt2(model)
    return model


class Transformer(nn.Module):
    """A first layer, positions, blocks, and an output layer, which is the embedding's if `head` is None."""

    def __init__(
        self,
        first: nn.Embedding | nn.Linear,
        positions: nn.Module,
        blocks: list[Block],
        norm: nn.LayerNorm,
        head: nn.Linear | None,
        dropout: nn.Module,
        *,
        padded: bool,
        causal: bool,
        at_each_position: bool,
    ) -> None:
        super().__init__()
        self.first, self.positions, self.dropout = first, positions, dropout
        self.blocks = nn.ModuleList(blocks)
        self.norm, self.head = norm, head
        self.padded, self.causal, self.at_each_position = padded, causal, at_each_position

    def forward(self, inputs: Tensor) -> Tensor:
        real = inputs != PADDING if self.padded else None
        # Causal attention needs no mask: padding stands behind every token.
        seen = None if real is None or self.causal else real[:, None, None]
        x = self.dropout(self.positions(self.first(inputs)))
        for block in self.blocks:
            x = block(x, seen)
        x = self.norm(x)
        if not self.at_each_position:
            x = pooled(x, real)
        outputs: Tensor = F.linear(x, self.first.weight) if self.head is None else self.head(x)
        return outputs.transpose(1, 2) if self.at_each_position else outputs
