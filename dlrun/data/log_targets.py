"""Targets of which a model learns the logarithm: log(1 + y) of a number y of 0 or more, and back."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Transform = Literal["log"]


def to_log(numbers: Tensor) -> Tensor:
    """log(1 + y) of numbers of 0 or more. Outputs below 0 stay as they are, which continues it smoothly."""
    return torch.where(numbers > 0, numbers.clamp(min=0).log1p(), numbers)


def from_log(logs: Tensor) -> Tensor:
    """The numbers of which `to_log` gives these, in float32 or wider: 16 bits hold three digits of them."""
    wide = logs if logs.dtype == torch.float64 else logs.float()
    return torch.where(wide > 0, wide.expm1(), wide)
