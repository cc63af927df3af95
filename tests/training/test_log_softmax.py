"""Log softmax in closed form: the bits of PyTorch's own, in fewer passes over few classes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dlrun.training import log_softmax
from dlrun.training.log_softmax import LogSoftmax


def autograds(outputs: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    leaf = outputs.clone().requires_grad_()
    logs = leaf.log_softmax(-1)
    logs.backward(gradient)
    assert leaf.grad is not None
    return logs.detach(), leaf.grad


@pytest.fixture(autouse=True)
def tried_anew() -> None:
    log_softmax.have_the_same_bits.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("classes", [1, 2, 3, 7, 8, 10, 15, 16, 17, 40])
@pytest.mark.parametrize("n", [1, 7, 64, 255, 256, 1001, 3000])
def test_both_passes_have_the_bits_of_autograd(n: int, classes: int, dtype: torch.dtype) -> None:
    layer, stream = LogSoftmax(), torch.Generator().manual_seed(1)
    for scale in (1e-3, 1.0, 50.0):  # one after the other: nothing stays from the batch before
        outputs = scale * torch.randn(n, classes, generator=stream, dtype=dtype)
        gradient = torch.randn(n, classes, generator=stream, dtype=dtype)
        found = layer.forward(outputs), layer.backward(gradient)
        assert all(map(torch.equal, found, autograds(outputs, gradient)))


def test_so_of_stacked_copies_and_of_a_smaller_last_batch() -> None:
    layer = LogSoftmax()
    for shape in [(4, 256, 3), (4, 100, 3), (4, 256, 3)]:
        outputs, gradient = torch.randn(shape), torch.randn(shape)
        found = layer.forward(outputs), layer.backward(gradient)
        assert all(map(torch.equal, found, autograds(outputs, gradient)))


def test_infinite_outputs_have_the_bits_of_autograd_too() -> None:
    outputs, gradient = torch.randn(1000, 3), torch.randn(1000, 3)
    outputs[3, 0], outputs[5], outputs[8, 2] = -torch.inf, torch.inf, torch.nan
    layer = LogSoftmax()
    found = layer.forward(outputs), layer.backward(gradient)
    for own, expected in zip(found, autograds(outputs, gradient), strict=True):
        assert torch.equal(own.isnan(), expected.isnan())
        assert torch.equal(own.nan_to_num(), expected.nan_to_num())


def test_few_classes_of_many_examples_are_computed_class_by_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_softmax, "have_the_same_bits", lambda *_: True)
    layer, outputs, gradient = LogSoftmax(), torch.randn(1000, 2), torch.randn(1000, 2)
    found = layer.forward(outputs), layer.backward(gradient)
    assert layer._rooms
    assert all(map(torch.allclose, found, autograds(outputs, gradient)))


@pytest.mark.parametrize("shape", [(60, 10), (1000, 1), (1000, 16), (1000, 400)])
def test_other_shapes_are_not_even_tried(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_softmax, "have_the_same_bits", None)
    LogSoftmax().forward(torch.randn(shape))


def test_outputs_stay_as_they_are_in_the_next_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_softmax, "have_the_same_bits", lambda *_: True)
    layer, outputs = LogSoftmax(), torch.randn(1000, 2)
    logs = layer.forward(outputs)
    before = logs.clone()
    layer.backward(torch.randn(1000, 2))
    layer.forward(torch.randn(1000, 2))
    assert torch.equal(logs, before)


@pytest.mark.parametrize("kernel", ["_forward", "_backward"])
def test_a_kernel_with_other_bits_is_not_used(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = getattr(log_softmax, kernel)

    def other(*words: Any, out: Tensor, **options: Any) -> Tensor:
        return usual(*words, out=out, **options).mul_(1 + 1e-7)  # type: ignore[no-any-return]

    monkeypatch.setattr(log_softmax, kernel, other)
    layer, outputs, gradient = LogSoftmax(), torch.randn(1000, 2), torch.randn(1000, 2)
    found = layer.forward(outputs), layer.backward(gradient)
    assert not layer._rooms
    assert all(map(torch.equal, found, autograds(outputs, gradient)))
