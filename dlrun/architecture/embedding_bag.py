"""The mean of the embeddings of all tokens: a fast classifier of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from dlrun.blocks.activations import activation_named
from dlrun.blocks.sequences import PADDING, is_padded, pooled
from dlrun.config.options import Activation, Count, Fraction
from dlrun.data.examples import Data
from dlrun.errors import UserError


def embedding_bag(
    shape: tuple[int, ...],
    outputs: int,
    data: Data,
    *,
    embedding: Count = 100,
    pooling: Literal["mean", "sum", "max"] = "mean",
    hidden: Sequence[Count] = (),
    activation: Activation = "relu",
    dropout: Fraction = 0.0,
) -> nn.Module:
    """A linear layer of the mean of the tokens' embeddings: ids (batch, length) -> (batch, outputs).

    The order of the tokens has no influence. Padding, id 0 if the vocabulary begins with "", is left out; a
    text without tokens has the mean, sum or maximum 0. Source: Joulin et al. 2016 (fastText), arXiv
    1607.01759, without its n-grams and its hierarchical softmax.

    Args:
        embedding: Numbers in the vector that stands for a token.
        pooling: Figure of the vectors of a text that is passed on.
        hidden: Units of each fully connected layer in front of the outputs.
        activation: Nonlinearity behind each hidden layer.
        dropout: Probability of setting a unit of a hidden layer to 0 in training.
    """
    if not data.vocabulary or len(shape) != 1:
        what = f"it takes ids of tokens, but the inputs are {'×'.join(map(str, shape))} numbers"
        raise UserError(what, fix="take rnn or transformer for a series, mlp for a vector")
    if data.places:
        what = "it gives one row of outputs for a text, not a class for each position"
        raise UserError(what, fix="take rnn or transformer")
    layers: list[nn.Module] = [
        Bag(nn.Embedding(len(data.vocabulary), embedding), pooling, padded=is_padded(data))
    ]
    size = embedding
    for width in hidden:
        layers += [nn.Linear(size, width), activation_named(activation)]
        if dropout:
            layers.append(nn.Dropout(dropout))
        size = width
    layers.append(nn.Linear(size, outputs))
    return nn.Sequential(*layers)


class Bag(nn.Module):
    """The mean, sum or maximum of the embeddings of a text: (batch, length) -> (batch, embedding)."""

    def __init__(
        self, embedding: nn.Embedding, pooling: Literal["mean", "sum", "max"], *, padded: bool
    ) -> None:
        super().__init__()
        # nn.EmbeddingBag cannot run for several seeds at once, and saves no time where texts are padded.
        self.embedding, self.pooling, self.padded = embedding, pooling, padded

    def forward(self, ids: Tensor) -> Tensor:
        return pooled(self.embedding(ids), ids != PADDING if self.padded else None, self.pooling)
