"""Convolutions, each with an activation and a pooling, then fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import nn

from dlrun.blocks.activations import activation_named
from dlrun.config.options import Activation, Count, Fraction, NonNegativeInt
from dlrun.errors import UserError


def cnn(
    shape: tuple[int, ...],
    outputs: int,
    *,
    channels: Sequence[Count] = (16, 32),
    kernel_size: Count = 5,
    stride: Count = 1,
    padding: NonNegativeInt = 2,
    pool: Count = 2,
    hidden: Sequence[Count] = (),
    activation: Activation = "relu",
    batch_norm: bool = False,
    dropout: Fraction = 0.0,
) -> nn.Module:
    """A convolutional network: (batch, channels, height, width) -> (batch, outputs).

    A convolution for each entry of `channels`, followed by the activation and by max pooling over squares
    of `pool` pixels (1: none); then `hidden` fully connected layers, with `dropout` if it is above 0. A
    convolution turns a side of n pixels into ⌊(n + 2·padding - kernel_size)/stride⌋ + 1. `batch_norm` adds
    batch normalisation before each activation; the layer in front then has no bias, because the
    normalisation would remove it (Ioffe and Szegedy 2015, arXiv 1502.03167).
    """
    if len(shape) != 3:
        raise UserError(f"it takes images, but the inputs are {'×'.join(map(str, shape))}")
    layers: list[nn.Module] = []
    before, height, width = shape
    for number, after in enumerate(channels, 1):
        layers.append(nn.Conv2d(before, after, kernel_size, stride, padding, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(after))
        layers.append(activation_named(activation))
        height, width = (((n + 2 * padding - kernel_size) // stride + 1) // pool for n in (height, width))
        if min(height, width) < 1:
            raise UserError(f"nothing is left of the image after convolution {number}")
        if pool > 1:
            layers.append(nn.MaxPool2d(pool))
        before = after
    layers.append(nn.Flatten())
    size = prod((before, height, width))
    for units in hidden:
        layers.append(nn.Linear(size, units, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm1d(units))
        layers.append(activation_named(activation))
        if dropout:
            layers.append(nn.Dropout(dropout))
        size = units
    layers.append(nn.Linear(size, outputs))
    return nn.Sequential(*layers)
