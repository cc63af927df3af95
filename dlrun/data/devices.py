"""Tensors moved to a device, overlapping windows without taking more memory there."""

from __future__ import annotations

import torch
from torch import Tensor


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a tensor to the device; float64 becomes float32 on a device without it.

    Overlapping windows, such as those of `unfold`, take no more memory there than here.
    """
    dtype = torch.float32 if _too_wide(tensor, device) else tensor.dtype
    if not overlaps(tensor):
        return tensor.to(device, dtype)
    return memory_of(tensor).to(device, dtype).as_strided(tensor.shape, tensor.stride())


def overlaps(tensor: Tensor) -> bool:
    """True if some numbers of a tensor share their memory, as those of overlapping windows do."""
    return tensor.numel() > _span(tensor)


def memory_of(tensor: Tensor) -> Tensor:
    """The memory from the first to the last number of a tensor, as a row of numbers."""
    return tensor.as_strided((_span(tensor),), (1,))


def _span(tensor: Tensor) -> int:
    if not tensor.numel():
        return 0
    return 1 + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))


def _too_wide(tensor: Tensor, device: torch.device) -> bool:
    return device.type == "mps" and tensor.dtype == torch.float64
