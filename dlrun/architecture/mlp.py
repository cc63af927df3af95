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

    Each hidden layer is followed by the activation and, if `dropout` is above 0, by dropout with that
    probability. `batch_norm` adds batch normalisation before the activation; the layer then has no bias,
    because the normalisation would remove it (Ioffe and Szegedy 2015, arXiv 1502.03167). `flatten` turns
    images into vectors first.
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
