"""Fully connected layers with an activation after each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import nn

from dlrun.blocks.activations import activation_named
from dlrun.blocks.vectors import vector_size
from dlrun.config.options import Activation, Count, Fraction


def mlp(
    shape: tuple[int, ...],
    outputs: int,
    *,
    hidden: Sequence[Count] = (100,),
    activation: Activation = "relu",
    batch_norm: bool = False,
    dropout: Fraction = 0.0,
    output_activation: Activation | Literal["softmax", "log_softmax"] = "identity",
    flatten: bool = False,
) -> nn.Module:
    """A multilayer perceptron: (batch, features) -> (batch, outputs).

    Args:
        hidden: Units of each hidden layer; the list's length is the number of them.
        activation: Nonlinearity behind each hidden layer.
        batch_norm: Put batch normalisation before each activation; the layer then has no bias, which the
            normalisation would remove (Ioffe and Szegedy 2015, arXiv 1502.03167).
        dropout: Probability of setting a hidden unit to 0 in training.
        output_activation: Function of the outputs; identity gives the logits or numbers that most losses
            take.
        flatten: Turn images into vectors first.
    """
    layers: list[nn.Module] = [nn.Flatten()] if flatten else []
    size = vector_size(shape, flatten)
    for width in hidden:
        layers.append(nn.Linear(size, width, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm1d(width))
        layers.append(activation_named(activation))
        if dropout:
            layers.append(nn.Dropout(dropout))
        size = width
    layers.append(nn.Linear(size, outputs))
    if output_activation != "identity":
        layers.append(activation_named(output_activation))
    return nn.Sequential(*layers)
