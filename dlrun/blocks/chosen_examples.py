"""Changes of some examples of a batch, which leave the others as they are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def change_chosen(batch: Tensor, chosen: Tensor, change: Callable[..., Tensor], *given: Tensor) -> None:
    """Put `change(batch, *given)` in place of the examples of a batch (n, …) that are `chosen` (n,).

    What is `given` has a value for each example, (n, …). The change of an example may not depend on others.
    """
    if can_count(batch.device):
        index = chosen.nonzero()[:, 0]
        if len(index):
            batch[index] = change(batch[index], *(each[index] for each in given))
        return
    shaped = chosen.view(-1, *[1] * (batch.dim() - 1))
    batch.copy_(torch.where(shaped, change(batch, *given), batch))


def can_count(device: torch.device) -> bool:
    """True if to count what is chosen costs nothing. An accelerator would wait, and a CUDA graph is refused.

    There each example is changed, and then chosen.
    """
    return device.type == "cpu"
