"""Losses of classes in closed form: bit for bit those of autograd."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from dlrun.config.registry import Parts
from dlrun.training.closed_losses import closed_loss


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["cross_entropy", "nll"])
def test_losses_and_gradients_are_those_of_autograd(name: str, dtype: torch.dtype) -> None:
    measure = partial(Parts().find("loss", name))
    loss = closed_loss(measure)
    assert loss is not None
    for n, classes in ((1, 2), (7, 3), (256, 10), (64, 1000)):
        outputs = 5 * torch.randn(n, classes, dtype=dtype)
        targets = torch.randint(classes, (n,))
        leaf = outputs.clone().requires_grad_()
        expected = measure(leaf, targets)
        expected.backward(torch.full_like(expected, 1.0 / n))
        assert torch.equal(loss.losses(outputs, targets), expected)
        assert leaf.grad is not None and torch.equal(loss.gradient(1.0 / len(outputs)), leaf.grad)


def test_other_losses_have_none() -> None:
    parts = Parts()
    for name in set(parts.names("loss")) - {"cross_entropy", "nll"}:
        assert closed_loss(partial(parts.find("loss", name))) is None
    find = parts.find("loss", "cross_entropy")
    assert closed_loss(find) is None
    assert closed_loss(partial(find, label_smoothing=0.1)) is None
    assert closed_loss(lambda outputs, targets: outputs.sum(1)) is None
