"""The gradient of a weight matrix: the bits of autograd, in whichever form is faster."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dlrun.training import outer_products
from dlrun.training.outer_products import outer_product, turns

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
    turned = 0
    for n, features, outputs in SHAPES:
        inputs, gradient = (torch.randn(*copies, n, axis, dtype=dtype) for axis in (features, outputs))
        found = outer_product(gradient, inputs, None, turned=turns(inputs, outputs))
        assert torch.equal(found, autograds(inputs, gradient)), (n, features, outputs)
        turned += turns(inputs, outputs) != bool(copies)
    assert turned  # some have a faster form than autograd's


@pytest.mark.parametrize("copies", [(), (3,)])
def test_a_form_with_other_bits_is_not_used(copies: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    usual = outer_products.outer_product

    def other(*words: Any, turned: bool) -> Tensor:
        return usual(*words, turned=turned) + turned

    monkeypatch.setattr(outer_products, "outer_product", other)
    outer_products._is_the_same.cache_clear()
    used = [turns(torch.randn(*copies, n, features), outputs) for n, features, outputs in SHAPES]
    outer_products._is_the_same.cache_clear()
    assert used == [bool(copies)] * len(SHAPES)


def test_inputs_in_another_layout_keep_autograds_form() -> None:
    inputs = torch.randn(1000, 2)
    assert turns(inputs, 64) and not turns(inputs.t().contiguous().t(), 64)
