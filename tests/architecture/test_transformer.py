"""The transformer: attention, positions, padding, and no look into the future."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from made_data import TOKENS, drawn, dropouts_run, loss_after, numbers, size, texts, tokens
from torch import Tensor, nn

from dlrun.architecture.transformer import Transformer, transformer
from dlrun.blocks.attention import Attention, Block
from dlrun.blocks.positions import Sinusoidal
from dlrun.errors import UserError

SMALL: dict[str, Any] = {"layers": 2, "width": 12, "heads": 3}


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_that_of_pytorch(causal: bool) -> None:
    ours = Attention(12, 3, causal=causal).double()
    theirs = nn.MultiheadAttention(12, 3, batch_first=True).double()
    theirs.in_proj_weight, theirs.in_proj_bias = ours.qkv.weight, ours.qkv.bias
    theirs.out_proj.weight, theirs.out_proj.bias = ours.join.weight, ours.join.bias
    x = drawn(2, 5, 12).double()
    later = torch.ones(5, 5).triu(1).bool() if causal else None
    torch.testing.assert_close(ours(x), theirs(x, x, x, attn_mask=later)[0])


def test_a_block_is_that_of_pytorch_with_normalisation_in_front() -> None:
    ours = Block(12, 3, 20, 0.0).double()
    theirs = nn.TransformerEncoderLayer(
        12, 3, 20, 0.0, "gelu", batch_first=True, norm_first=True, dtype=torch.float64
    )
    names = {
        "self_attn.in_proj_": "attention.qkv.",
        "self_attn.out_proj.": "attention.join.",
        "linear1.": "widen.",
        "linear2.": "narrow.",
    }
    state = ours.state_dict()
    for their_name in list(theirs.state_dict()):
        ours_of_it = their_name
        for theirs_begins, ours_begins in names.items():
            ours_of_it = ours_of_it.replace(theirs_begins, ours_begins)
        state[their_name] = state.pop(ours_of_it)
    theirs.load_state_dict(state)
    x = drawn(2, 5, 12).double()
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("positions", ["learnt", "sinusoidal"])
def test_a_later_token_changes_no_earlier_output(positions: Any) -> None:
    model = transformer((6,), TOKENS, texts(6), causal=True, positions=positions, **SMALL)
    ids = tokens(2, 6)
    other = ids.clone()
    other[:, 4] = ids[:, 4] % (TOKENS - 1) + 1
    before, after = model(ids), model(other)
    assert torch.equal(before[..., :4], after[..., :4])
    assert not torch.isclose(before[..., 4:], after[..., 4:]).all(1).any()


def test_without_causal_every_output_sees_every_token() -> None:
    model = transformer((6,), TOKENS, texts(6), **SMALL)
    ids = tokens(2, 6)
    other = ids.clone()
    other[:, 5] = ids[:, 5] % (TOKENS - 1) + 1
    assert not torch.isclose(model(ids), model(other), rtol=0, atol=1e-9).all(1).any()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("places", [(), (9,)])
def test_padding_changes_nothing(causal: bool, places: tuple[int, ...]) -> None:
    model = transformer((9,), 4, texts(*places, padded=True), causal=causal, **SMALL).double()
    ids = tokens(3, 6)
    padded = nn.functional.pad(ids, (0, 3))
    outputs = model(padded)
    torch.testing.assert_close(outputs[..., :6] if places else outputs, model(ids))


def test_an_id_0_that_is_a_token_is_no_padding() -> None:
    model = transformer((6,), 4, texts(), **SMALL)
    ids = tokens(3, 6)
    assert not torch.isclose(model(nn.functional.pad(ids[:, :5], (0, 1))), model(ids[:, :5])).any()


@pytest.mark.parametrize("width", [6, 7])
def test_sinusoidal_positions_are_those_of_the_formula(width: int) -> None:
    positions, x = Sinusoidal(50, width), drawn(1, 50, width)
    added = positions(x) - width**0.5 * x
    for t in range(50):
        for column in range(width):
            angle = torch.tensor(t / 10000 ** (2 * (column // 2) / width))
            expected = angle.cos() if column % 2 else angle.sin()
            torch.testing.assert_close(added[0, t, column], expected, rtol=0, atol=1e-5)


def test_the_weights_are_as_many_as_the_formula_says() -> None:
    width, units, length, classes, features = 12, 20, 6, 4, 3
    block = 2 * 2 * width + (width + 1) * 3 * width + (width + 1) * width
    block += (width + 1) * units + (units + 1) * width
    last = 2 * width + (width + 1) * classes
    model = transformer((length,), classes, texts(), feedforward=units, **SMALL)
    assert size(model) == TOKENS * width + length * width + 2 * block + last
    model = transformer((length, features), classes, numbers(), feedforward=units, **SMALL)
    assert size(model) == (features + 1) * width + length * width + 2 * block + last
    model = transformer((length,), classes, texts(), feedforward=units, positions="sinusoidal", **SMALL)
    assert size(model) == TOKENS * width + 2 * block + last
    model = transformer((length,), TOKENS, texts(length), feedforward=units, tied=True, **SMALL)
    assert size(model) == TOKENS * width + length * width + 2 * block + 2 * width


def test_without_feedforward_there_are_four_times_as_many_units_as_the_width() -> None:
    given = transformer((6,), 4, texts(), feedforward=48, **SMALL)
    assert size(transformer((6,), 4, texts(), **SMALL)) == size(given)


def test_tied_outputs_are_products_with_the_embedding() -> None:
    model = transformer((6,), TOKENS, texts(6), tied=True, **SMALL)
    assert isinstance(model, Transformer)
    ids = tokens(2, 6)
    before = model(ids)
    with torch.no_grad():
        model.first.weight[0] = 0  # a token that no text has
    after = model(ids)
    assert (after[:, 0] == 0).all()
    assert torch.equal(after[:, 1:], before[:, 1:])
    assert len(model.state_dict()) == len({weights.data_ptr() for weights in model.parameters()})


def test_first_weights_are_those_of_gpt2() -> None:
    torch.manual_seed(0)
    model = transformer((50,), 60, texts(), layers=8, width=64, heads=2)
    for name, weights in model.named_parameters():
        if "norm" in name:
            assert torch.equal(weights, torch.full_like(weights, float(name.endswith("weight"))))
        elif name.endswith("bias"):
            assert not weights.any()
        else:
            sd = 0.02 / 4 if name.endswith(("join.weight", "narrow.weight")) else 0.02
            assert weights.std().item() == pytest.approx(sd, rel=0.1), name


def test_dropout_acts_in_training_alone() -> None:
    model = transformer((6,), 4, texts(), dropout=0.5, **SMALL)
    ids = tokens(2, 6)
    assert not torch.equal(model(ids), model(ids))
    assert torch.equal(model.eval()(ids), model(ids))
    assert dropouts_run(model, ids) == 1 + 2 * SMALL["layers"]


@pytest.mark.parametrize("positions", ["learnt", "sinusoidal"])
def test_it_learns_eight_texts_by_heart(positions: Any) -> None:
    torch.manual_seed(0)
    model = transformer((6,), 4, texts(), layers=2, width=32, heads=2, positions=positions)
    assert loss_after(300, model, tokens(8, 6), torch.arange(8) % 4) < 0.05


def test_it_learns_to_find_the_token_before() -> None:
    torch.manual_seed(0)
    ids = tokens(8, 6)
    before = nn.functional.pad(ids[:, :-1], (1, 0))
    model = transformer((6,), TOKENS, texts(6), layers=2, width=32, heads=2, causal=True, tied=True)
    assert loss_after(150, model, ids, before) < 0.05


@pytest.mark.parametrize(
    ("build", "what", "fix"),
    [
        (lambda: transformer((6,), 4, texts(), width=10, heads=3), "3 heads", "width: 9"),
        (lambda: transformer((6,), 4, texts(), width=1, heads=3), "3 heads", "width: 3"),
        (lambda: transformer((6,), 4, texts(6), tied=True), "7 tokens and 4 outputs", "tied: false"),
        (lambda: transformer((6, 3), 4, numbers(), tied=True), "0 tokens and 4 outputs", "tied: false"),
        (lambda: transformer((3, 8, 8), 4, numbers()), "the inputs are 3×8×8", "(length, features)"),
        (lambda: transformer((6,), 4, numbers()), "the inputs are 6", "1 feature"),
        (lambda: transformer((6, 2), 4, texts()), "the inputs are 6×2", "as (length,)"),
        (lambda: transformer((6,), 4, texts(8, 8)), "8×8 places", "targets (n, 6)"),
        (lambda: transformer((6,), 4, texts(5)), "5 places", "targets (n, 6)"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_remedy(build: Any, what: str, fix: str) -> None:
    with pytest.raises(UserError) as refused:
        build()
    assert what in refused.value.what
    assert fix in refused.value.fix


def test_outputs_at_each_position_are_not_copied() -> None:
    outputs: Tensor = transformer((6,), 4, texts(6), **SMALL)(tokens(2, 6))
    assert outputs.transpose(1, 2).is_contiguous()
