"""Shared code of transformers: the block of attention and feed-forward layers, and the first weights."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from dlrun.blocks.dropout import DropPath, dropout_of
from dlrun.errors import UserError

_SD = 0.02  # standard deviation of GPT-2's first weights


class Block(nn.Module):
    """Attention, then two fully connected layers: (batch, length, width) -> (batch, length, width).

    x = x + dropout(attention(norm(x))), then x = x + dropout(W₂ GELU(W₁ norm(x))), with `feedforward` units
    in between; `drop_path` leaves what is added out for some examples. Sources: Vaswani et al. 2017, arXiv
    1706.03762; the normalisation in front of the layers rather than after the sums from Xiong et al. 2020,
    arXiv 2002.04745.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        feedforward: int,
        dropout: float,
        *,
        causal: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal=causal)
        self.dropout1 = dropout_of(dropout)
        self.norm2 = nn.LayerNorm(width)
        self.widen = nn.Linear(width, feedforward)
        self.gelu = nn.GELU()
        self.narrow = nn.Linear(feedforward, width)
        self.dropout2 = dropout_of(dropout)
        self.path1, self.path2 = (DropPath(drop_path) if drop_path else nn.Identity() for _ in range(2))

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """The positions where `seen` (batch, 1, 1, length) is False are hidden from all others."""
        x = x + self.path1(self.dropout1(self.attention(self.norm1(x), seen)))
        wide = self.gelu(self.widen(self.norm2(x)))
        sums: Tensor = x + self.path2(self.dropout2(self.narrow(wide)))
        return sums


class Attention(nn.Module):
    """Self-attention with several heads: (batch, length, width) -> (batch, length, width).

    Each head computes softmax(Q Kᵀ/√d) V from its own d = width/heads columns of queries Q, keys K and
    values V. With `causal` a position sees itself and the positions before it.
    """

    def __init__(self, width: int, heads: int, *, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        qkv = self.qkv(x).unflatten(2, (3, self.heads, -1))
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))  # (batch, heads, length, d) each
        values = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=self.causal)
        joined: Tensor = self.join(values.transpose(1, 2).flatten(2))
        return joined


def start_as_gpt2(model: nn.Module) -> None:
    """Set the first weights: normally distributed with standard deviation 0.02, biases 0.

    The last layers of attention and of the feed-forward part have 0.02/√(2·blocks): what all blocks
    together add to x does not grow with their number. Source: Radford et al. 2019 (GPT-2), section 2.3, and
    their code.
    """
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Embedding):
            nn.init.normal_(layer.weight, std=_SD)
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
    for block in blocks:
        for last in (block.attention.join, block.narrow):
            nn.init.normal_(last.weight, std=_SD / (2 * len(blocks)) ** 0.5)


def refuse_heads(width: int, heads: int) -> None:
    """Raise UserError unless the heads share the width equally."""
    if width % heads:
        near = heads * max(1, round(width / heads))
        raise UserError(f"{heads} heads cannot share a width of {width} equally", fix=f"set width: {near}")
