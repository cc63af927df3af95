"""Dropout, for architectures in which it may be turned off."""

from __future__ import annotations

from torch import nn


def dropout_of(probability: float) -> nn.Module:
    """A dropout, or a layer that does nothing if the probability is 0."""
    return nn.Dropout(probability) if probability else nn.Identity()
