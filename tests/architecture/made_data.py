"""Datasets in words, inputs that such a dataset has, and a short training, for the tests of architectures."""

from __future__ import annotations

from string import ascii_lowercase
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlrun.data.examples import Data

TOKENS = 7


def texts(*places: int, padded: bool = False) -> Data:
    """Ids of TOKENS tokens; id 0 is padding if `padded`."""
    vocabulary = ("", *ascii_lowercase)[:TOKENS] if padded else tuple(ascii_lowercase[:TOKENS])
    return data(*places, vocabulary=vocabulary, input_dtype=torch.int64)


def numbers(*places: int) -> Data:
    """Vectors, images or series of numbers."""
    return data(*places)


def data(*places: int, **stated: Any) -> Data:
    return Data("classification", (1,), dict, places=places, **stated)


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def tokens(*shape: int, first: int = 1) -> Tensor:
    """Ids without padding."""
    return torch.randint(first, TOKENS, shape, generator=torch.Generator().manual_seed(sum(shape)))


def dropouts_run(model: nn.Module, inputs: Tensor) -> int:
    """The number of dropouts that inputs pass through."""
    run: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(lambda module, *_: run.append(module))
    model(inputs)
    assert len(run) == len(set(run)), "one that is used twice cannot be stacked"
    return len(run)


def size(model: nn.Module) -> int:
    """The number of weights."""
    return sum(weights.numel() for weights in model.parameters())


def loss_after(steps: int, model: nn.Module, inputs: Tensor, targets: Tensor, lr: float = 0.01) -> float:
    """The loss on some examples after so many steps of Adam on them."""
    optimizer = torch.optim.Adam(model.parameters(), lr)
    loss = torch.tensor(torch.nan)
    for _ in range(steps + 1):
        outputs = model(inputs)
        loss = (
            F.mse_loss(outputs, targets) if targets.is_floating_point() else F.cross_entropy(outputs, targets)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())
