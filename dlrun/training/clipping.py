"""Gradient clipping: of the whole gradient of a copy, of each of its numbers, or of each unit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

Mode = Literal["norm", "value", "agc"]
_LEAST = 1e-3  # of a unit's weights, so that those of zeros can learn


def clip_alone(weights: Iterable[nn.Parameter], most: float, mode: Mode) -> None:
    """Clip the gradients of one copy."""
    if mode == "norm":
        nn.utils.clip_grad_norm_(weights, most)
    else:
        _clip_each(weights, most, mode, first=0)


def clip_stacked(weights: Iterable[nn.Parameter], most: float, mode: Mode) -> None:
    """Clip the gradients (copies, …) of stacked copies, each as it would be clipped alone."""
    if mode != "norm":
        _clip_each(weights, most, mode, first=1)
        return
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    of_weights = [gradient.reshape(len(gradient), -1).norm(dim=1) for gradient in gradients]
    lengths = torch.stack(of_weights).norm(dim=0)
    factors = (most / (lengths + 1e-6)).clamp(max=1.0)  # the formula of torch's clip_grad_norm_
    for gradient in gradients:
        gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)))


def _clip_each(weights: Iterable[nn.Parameter], most: float, mode: Mode, first: int) -> None:
    """Clip each gradient by itself; its axes before `first` are copies."""
    for weight in weights:
        if weight.grad is None:
            continue
        if mode == "value":
            weight.grad.clamp_(-most, most)
            continue
        longest = most * _of_units(weight.detach(), first).clamp_min(_LEAST)
        length = _of_units(weight.grad, first)
        weight.grad.mul_(torch.where(length > longest, longest / length, 1.0))


def _of_units(values: Tensor, first: int) -> Tensor:
    """The 2-norm of the weights of each unit, the rows of a matrix or kernel; of a vector that of all."""
    units = first + (values.dim() > first + 1)
    if units == values.dim():
        return values.abs()
    rest = tuple(range(units, values.dim()))
    lengths: Tensor = torch.linalg.vector_norm(values, dim=rest, keepdim=True)
    return lengths
