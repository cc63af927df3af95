"""Recurrent networks: simple RNN, LSTM and GRU."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import Literal

import torch
from torch import Tensor, nn

from dlrun.blocks.dropout import dropout_of
from dlrun.blocks.sequences import PADDING, is_padded, refuse_other_than_sequences
from dlrun.config.options import Count, Fraction
from dlrun.data.examples import Data

CELLS: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def rnn(
    shape: tuple[int, ...],
    outputs: int,
    data: Data,
    *,
    kind: Literal["rnn", "lstm", "gru"] = "lstm",
    layers: Count = 1,
    hidden: Count = 128,
    embedding: Count = 64,
    bidirectional: bool = False,
    dropout: Fraction = 0.0,
) -> nn.Module:
    """A recurrent network: ids (batch, length) or a series (batch, length, features) -> (batch, outputs).

    The outputs are a linear layer of the state at the end of the sequence, or if the targets are a class for
    each position, of the state at each: (batch, outputs, length). Padding, id 0 if the vocabulary begins with
    "", has to stand at the end, and is not read.

    Args:
        kind: Cell of the network: rnn, a simple one with tanh (Elman 1990); lstm (Hochreiter and Schmidhuber
            1997, with the forget gate of Gers et al. 2000); gru (Cho et al. 2014, arXiv 1406.1078).
        layers: Recurrent layers on top of each other.
        hidden: Units of each layer, in each direction.
        embedding: Numbers in the vector that stands for a token; of no effect on a series of numbers.
        bidirectional: Add units that read backwards, and whose end is the first position (Schuster and
            Paliwal 1997); they see what follows, so leave them out where the next token is to be predicted.
        dropout: Probability of setting an output of a layer to 0 in training (Zaremba et al. 2014, arXiv
            1409.2329).
    """
    refuse_other_than_sequences(shape, data)
    tokens = len(data.vocabulary)
    directions = 2 if bidirectional else 1
    sizes = [embedding if tokens else shape[1], *repeat(directions * hidden, layers - 1)]
    return Recurrent(
        nn.Embedding(tokens, embedding) if tokens else nn.Identity(),
        [[CELLS[kind](size, hidden, batch_first=True) for _ in range(directions)] for size in sizes],
        nn.Linear(directions * hidden, outputs),
        dropout,
        padded=is_padded(data),
        at_each_position=bool(data.places),
    )


class Recurrent(nn.Module):
    """Layers that read a sequence forwards, or in both directions, and a linear layer for the outputs."""

    def __init__(
        self,
        first: nn.Module,
        layers: list[list[nn.RNNBase]],
        head: nn.Linear,
        dropout: float,
        *,
        padded: bool,
        at_each_position: bool,
    ) -> None:
        super().__init__()
        self.first = first
        self.forwards = nn.ModuleList(layer[0] for layer in layers)
        self.backwards = nn.ModuleList(layer[1] for layer in layers if len(layer) == 2)
        # nn.LSTM's own dropout keeps its random state inside cuDNN, and no seed sets it back.
        self.dropouts = nn.ModuleList(dropout_of(dropout) for _ in layers)
        self.head = head
        self.padded, self.at_each_position = padded, at_each_position

    def forward(self, inputs: Tensor) -> Tensor:
        x, order = self.first(inputs), self.backward_order(inputs)
        for number, (forwards, dropout) in enumerate(zip(self.forwards, self.dropouts, strict=True)):
            states = forwards(x)[0]
            if self.backwards:
                back = self.backwards[number](taken(x, order))[0]
                states = torch.cat([states, taken(back, order)], 2)
            x = dropout(states)
        if not self.at_each_position:
            x, first = taken(x, order[:, :1]).squeeze(1), x[:, 0]
            if self.backwards:
                x = torch.cat([x.chunk(2, 1)[0], first.chunk(2, 1)[1]], 1)
        outputs: Tensor = self.head(x)
        return outputs.transpose(1, 2) if self.at_each_position else outputs

    def backward_order(self, inputs: Tensor) -> Tensor:
        """The positions from the last token to the first, then those of the padding, (batch, length)."""
        positions = torch.arange(inputs.shape[1], device=inputs.device)
        if not self.padded:
            return positions.flip(0).expand(inputs.shape[0], -1)
        length = ((inputs != PADDING) * (positions + 1)).amax(1, keepdim=True)
        return torch.where(positions < length, length - 1 - positions, positions)


def taken(x: Tensor, positions: Tensor) -> Tensor:
    """The vectors (batch, n, features) at some positions (batch, n) of x (batch, length, features)."""
    return x.gather(1, positions.unsqueeze(2).expand(-1, -1, x.shape[2]))
