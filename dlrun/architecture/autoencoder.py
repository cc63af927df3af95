"""An autoencoder of fully connected layers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Literal

from torch import nn

from dlrun.blocks.activations import activation_named
from dlrun.config.options import Activation, Count
from dlrun.errors import UserError


def autoencoder(
    shape: tuple[int, ...],
    outputs: int,
    *,
    hidden: Sequence[Count] = (1000, 500, 250),
    code: Count = 30,
    activation: Activation = "relu",
    output_activation: Literal["identity", "sigmoid"] = "identity",
) -> nn.Module:
    """An autoencoder, whose outputs have the shape of its inputs: (batch, *shape) -> (batch, *shape).

    Its parts are `encoder`, (batch, *shape) -> (batch, code), and `decoder`, (batch, code) -> (batch,
    *shape). Source: Hinton and Salakhutdinov 2006 (Science 313), whose layers are the default, here with ReLU
    in place of the logistic function and without pretraining.

    Args:
        hidden: Units of each fully connected layer of the encoder; the decoder has the same in reverse.
        code: Numbers into which an input is squeezed, by a linear layer.
        activation: Nonlinearity behind each hidden layer.
        output_activation: Function of the last layer; take sigmoid for inputs from 0 to 1.
    """
    size = prod(shape)
    if outputs != size:
        what = f"it gives back the {size} numbers of an input, but {outputs} outputs are wanted"
        raise UserError(what, fix="take a dataset of the task reconstruction")
    encoder = layers([size, *hidden, code], activation)
    decoder = layers([code, *reversed(hidden), size], activation)
    if output_activation != "identity":
        decoder.append(activation_named(output_activation))
    if len(shape) != 1:
        encoder, decoder = [nn.Flatten(), *encoder], [*decoder, nn.Unflatten(1, shape)]
    parts = {"encoder": nn.Sequential(*encoder), "decoder": nn.Sequential(*decoder)}
    return nn.Sequential(OrderedDict[str, nn.Module](parts))


def layers(sizes: Sequence[int], activation: Activation) -> list[nn.Module]:
    """Linear layers of these sizes with the activation between them."""
    steps: list[nn.Module] = []
    for before, after in pairwise(sizes):
        steps += [nn.Linear(before, after), activation_named(activation)]
    return steps[:-1]
