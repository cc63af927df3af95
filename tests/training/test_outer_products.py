"""The gradient of a weight matrix: the bits of autograd, in whichever form is faster."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dlrun.training import outer_products
from dlrun.training.outer_products import is_turned, outer_product

SHAPES = [
    (n, features, outputs)
    for n in (1, 7, 64, 1000)
    for features in (1, 2, 5, 13, 15, 16, 64)
    for outputs in (1, 3, 10, 64)
]


def autograds(inputs: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of W where y = x Wᵀ + b."""
    outputs = gradient.shape[-1]
    weight = torch.zeros(*inputs.shape[:-2], outputs, inputs.shape[-1], dtype=inputs.dtype).requires_grad_()
    bias = torch.zeros(*inputs.shape[:-2], outputs, dtype=inputs.dtype)
    if inputs.dim() == 2:
        torch.addmm(bias, inputs, weight.t()).backward(gradient)
    else:
        torch.baddbmm(bias.unsqueeze(1), inputs, weight.mT).backward(gradient)
    assert weight.grad is not None
    return weight.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("copies", [(), (3,)])
def test_it_has_the_bits_of_autograd(copies: tuple[int, ...], dtype: torch.dtype) -> None:
    for n, features, outputs in SHAPES:
        inputs, gradient = (torch.randn(*copies, n, axis, dtype=dtype) for axis in (features, outputs))
        found = outer_product(gradient, inputs, None, turned=is_turned(inputs, outputs))
        assert torch.equal(found, autograds(inputs, gradient)), (n, features, outputs)


@pytest.mark.parametrize("copies", [(), (3,)])
def test_a_form_with_other_bits_is_not_used(copies: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    usual = outer_products.outer_product

    def other(*words: Any, turned: bool) -> Tensor:
        return usual(*words, turned=turned) + turned

    monkeypatch.setattr(outer_products, "outer_product", other)
    outer_products.have_the_same_bits.cache_clear()
    used = [is_turned(torch.randn(*copies, n, features), outputs) for n, features, outputs in SHAPES]
    outer_products.have_the_same_bits.cache_clear()
    assert used == [bool(copies)] * len(SHAPES)


def test_narrow_inputs_and_wide_stacked_ones_take_another_form_than_autograds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outer_products, "have_the_same_bits", lambda *_: True)
    narrow, wide = torch.randn(1000, 2), torch.randn(1000, 64)
    assert is_turned(narrow, 64) and not is_turned(wide, 100)
    assert is_turned(narrow.expand(3, -1, -1).contiguous(), 64)
    assert not is_turned(wide.expand(3, -1, -1).contiguous(), 100)
    assert not is_turned(narrow.t().contiguous().t(), 64)  # in another layout than was tried


def test_a_trial_of_very_many_numbers_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outer_products, "have_the_same_bits", None)
    assert not is_turned(torch.empty(1, 2).expand(10**6, 2).contiguous(), 64)


def test_two_threads_have_the_bits_of_autograd_too() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for n, features, outputs in [(3000, 2, 100), (1000, 13, 64)]:
            inputs, gradient = torch.randn(n, features), torch.randn(n, outputs)
            found = outer_product(gradient, inputs, None, turned=is_turned(inputs, outputs))
            assert torch.equal(found, autograds(inputs, gradient))
    finally:
        torch.set_num_threads(before)
