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

    Convolutions, each followed by an activation and max pooling, then fully connected layers. A convolution
    turns a side of n pixels into ⌊(n + 2·padding - kernel_size)/stride⌋ + 1.

    Args:
        channels: Kernels of each convolution; the list's length is the number of convolutions.
        kernel_size: Side of each kernel, in pixels.
        stride: Pixels from one place of a kernel to the next.
        padding: Rows and columns of zeros around an image, in pixels.
        pool: Side of the squares of pixels of which max pooling keeps the largest; 1 pools nothing.
        hidden: Units of each fully connected layer behind the convolutions, before the outputs.
        activation: Nonlinearity behind each convolution and each hidden layer.
        batch_norm: Put batch normalisation before each activation; the layer in front then has no bias, which
            the normalisation would remove (Ioffe and Szegedy 2015, arXiv 1502.03167).
        dropout: Probability of setting a unit of a `hidden` layer to 0 in training.
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
