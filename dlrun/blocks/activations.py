"""The activation functions that architectures take by name."""

from __future__ import annotations

from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "selu": nn.SELU,
    "softplus": nn.Softplus,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


def activation_named(name: str) -> nn.Module:
    """The activation module of a name; softmax and log_softmax act over the last axis."""
    if name in ("softmax", "log_softmax"):
        return nn.Softmax(-1) if name == "softmax" else nn.LogSoftmax(-1)
    return ACTIVATIONS[name]()
