"""Numbers of a config as tensors, which losses take in every step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor


def constants(numbers: Sequence[float], like: Tensor) -> Tensor:
    """The numbers as a tensor (k,) with the type and on the device of `like`.

    Each is copied there once, because a CUDA graph can hold no copy from the host.
    """
    return _placed(tuple(numbers), like.device, like.dtype)


@cache
def _placed(numbers: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(numbers, device=device, dtype=dtype)
