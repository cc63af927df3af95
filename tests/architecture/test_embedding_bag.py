"""The mean of embeddings, with nn.EmbeddingBag as the oracle."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from made_data import TOKENS, drawn, loss_after, numbers, size, texts, tokens
from torch import Tensor, nn

from dlrun.architecture.embedding_bag import embedding_bag
from dlrun.errors import UserError

POOLINGS = ["mean", "sum", "max"]


def padded_texts() -> Tensor:
    ids = tokens(4, 6)
    ids[1, 3:], ids[2, 1:], ids[3, :] = 0, 0, 0
    return ids


def with_gradient(module: Any, weights: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    weights.grad = None
    outputs = module(ids)
    (outputs * drawn(*outputs.shape).double()).sum().backward()
    assert weights.grad is not None
    return outputs.detach(), weights.grad


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("padded", [False, True])
def test_it_is_pytorchs_embedding_bag(pooling: Any, padded: bool) -> None:
    bag = embedding_bag((6,), 4, texts(padded=padded), embedding=5, pooling=pooling).double()[0]
    theirs = nn.EmbeddingBag(TOKENS, 5, mode=pooling, padding_idx=0 if padded else None).double()
    theirs.load_state_dict({"weight": bag.embedding.weight})
    for a, b in zip(
        with_gradient(bag, bag.embedding.weight, padded_texts()),
        with_gradient(theirs, theirs.weight, padded_texts()),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_and_the_order_of_tokens_change_nothing(pooling: Any) -> None:
    model, ids = embedding_bag((9,), 4, texts(padded=True), pooling=pooling).double(), tokens(3, 6)
    outputs = model(ids)
    torch.testing.assert_close(model(nn.functional.pad(ids, (0, 3))), outputs)
    torch.testing.assert_close(model(ids.flip(1)), outputs)
    ids[:, 0] = ids[:, 0] % (TOKENS - 1) + 1
    assert not torch.isclose(model(ids), outputs).all()


def test_the_weights_are_as_many_as_the_formula_says() -> None:
    assert size(embedding_bag((6,), 4, texts(), embedding=5)) == TOKENS * 5 + (5 + 1) * 4
    model = embedding_bag((6,), 4, texts(), embedding=5, hidden=(3, 2))
    assert size(model) == TOKENS * 5 + (5 + 1) * 3 + (3 + 1) * 2 + (2 + 1) * 4


def test_hidden_layers_have_the_activation_and_dropout() -> None:
    model = embedding_bag((6,), 4, texts(), hidden=(3, 2), activation="tanh", dropout=0.5)
    kinds = [type(layer) for layer in model.children()][1:]
    assert kinds == 2 * [nn.Linear, nn.Tanh, nn.Dropout] + [nn.Linear]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_it_learns_eight_texts_by_heart(pooling: Any) -> None:
    torch.manual_seed(0)
    model = embedding_bag((6,), 4, texts(padded=True), pooling=pooling, hidden=(16,))
    assert loss_after(40, model, tokens(8, 6), torch.arange(8) % 4) < 0.05


def test_what_does_not_fit_is_refused_with_a_remedy() -> None:
    for shape, data, what in (
        ((6, 3), numbers(), "the inputs are 6×3 numbers"),
        ((6,), numbers(), "the inputs are 6 numbers"),
        ((6,), texts(6), "not a class for each position"),
    ):
        with pytest.raises(UserError, match=what) as refused:
            embedding_bag(shape, 4, data)
        assert refused.value.fix
