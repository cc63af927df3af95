"""The recurrent networks, with PyTorch's own as the oracle."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from made_data import TOKENS, drawn, dropouts_run, loss_after, numbers, size, texts, tokens
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dlrun.architecture.rnn import Recurrent, rnn
from dlrun.errors import UserError

KINDS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
LENGTHS = (6, 3, 1, 5)


def theirs_of(ours: nn.Module, kind: str, features: int, hidden: int, layers: int) -> nn.RNNBase:
    """PyTorch's network of all layers and directions, with the same weights."""
    assert isinstance(ours, Recurrent)
    both = len(ours.backwards) > 0
    theirs = KINDS[kind](features, hidden, layers, batch_first=True, bidirectional=both).double()
    state = {}
    for suffix, modules in (("", ours.forwards), ("_reverse", ours.backwards)):
        for layer, module in enumerate(modules):
            for name, weights in module.state_dict().items():
                state[f"{name.removesuffix('_l0')}_l{layer}{suffix}"] = weights
    theirs.load_state_dict(state)
    return theirs


def padded_texts() -> Tensor:
    ids = tokens(len(LENGTHS), 6)
    for example, length in enumerate(LENGTHS):
        ids[example, length:] = 0
    return ids


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_it_is_pytorchs_network_and_a_linear_layer(kind: Any, bidirectional: bool) -> None:
    options = {"kind": kind, "hidden": 5, "layers": 2, "bidirectional": bidirectional}
    series = drawn(4, 6, 3).double()
    for places in ((), (6,)):
        ours = rnn((6, 3), 4, numbers(*places), **options).double()
        states, ends = theirs_of(ours, kind, 3, 5, 2)(series)
        last = (ends[0] if kind == "lstm" else ends)[-2 if bidirectional else -1 :]
        assert isinstance(ours, Recurrent)
        if places:
            torch.testing.assert_close(ours(series), ours.head(states).transpose(1, 2))
        else:
            torch.testing.assert_close(ours(series), ours.head(torch.cat(list(last), 1)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_is_read_no_more_than_in_pytorchs_packed_sequences(kind: Any, bidirectional: bool) -> None:
    options = {"kind": kind, "hidden": 5, "layers": 2, "embedding": 3, "bidirectional": bidirectional}
    ids = padded_texts()
    for places in ((), (6,)):
        ours = rnn((6,), 4, texts(*places, padded=True), **options).double()
        assert isinstance(ours, Recurrent)
        packed = pack_padded_sequence(ours.first(ids), torch.tensor(LENGTHS), True, enforce_sorted=False)
        states, ends = theirs_of(ours, kind, 3, 5, 2)(packed)
        last = (ends[0] if kind == "lstm" else ends)[-2 if bidirectional else -1 :]
        if places:
            expected = ours.head(pad_packed_sequence(states, True)[0]).transpose(1, 2)
            real = (ids != 0).unsqueeze(1)
            torch.testing.assert_close(ours(ids) * real, expected * real)
        else:
            torch.testing.assert_close(ours(ids), ours.head(torch.cat(list(last), 1)))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("places", [(), (9,)])
def test_padding_changes_nothing(bidirectional: bool, places: tuple[int, ...]) -> None:
    options = {"hidden": 5, "layers": 2, "bidirectional": bidirectional}
    model = rnn((9,), 4, texts(*places, padded=True), **options).double()
    ids = tokens(3, 6)
    outputs = model(nn.functional.pad(ids, (0, 3)))
    torch.testing.assert_close(outputs[..., :6] if places else outputs, model(ids))


def test_an_id_0_that_is_a_token_is_read() -> None:
    model, ids = rnn((6,), 4, texts(), hidden=5), tokens(3, 5)
    assert not torch.isclose(model(nn.functional.pad(ids, (0, 1))), model(ids)).any()


def test_one_direction_sees_no_later_token_and_both_see_it() -> None:
    ids = tokens(2, 6)
    other = ids.clone()
    other[:, 4] = ids[:, 4] % (TOKENS - 1) + 1
    for bidirectional in (False, True):
        model = rnn((6,), 4, texts(6), hidden=5, bidirectional=bidirectional)
        same = torch.isclose(model(ids), model(other), rtol=0, atol=0).all(1)
        assert same[:, :4].all() == (not bidirectional)
        assert not same[:, 4:].any()


@pytest.mark.parametrize(("kind", "gates"), [("rnn", 1), ("gru", 3), ("lstm", 4)])
def test_the_weights_are_as_many_as_the_formula_says(kind: Any, gates: int) -> None:
    hidden, embedding, classes, features = 5, 3, 4, 2

    def layer(inputs: int) -> int:
        return gates * hidden * (inputs + hidden + 2)  # two biases, as PyTorch has them

    model = rnn((6,), classes, texts(), kind=kind, hidden=hidden, embedding=embedding, layers=2)
    assert size(model) == TOKENS * embedding + layer(embedding) + layer(hidden) + (hidden + 1) * classes
    model = rnn((6, features), classes, numbers(), kind=kind, hidden=hidden, layers=2, bidirectional=True)
    assert size(model) == 2 * layer(features) + 2 * layer(2 * hidden) + (2 * hidden + 1) * classes


def test_dropout_acts_behind_every_layer_and_in_training_alone() -> None:
    series = drawn(4, 6, 3)
    for layers in (1, 2):
        model = rnn((6, 3), 4, numbers(), hidden=5, layers=layers, dropout=0.5)
        assert dropouts_run(model, series) == layers
        assert not torch.equal(model(series), model(series))
        assert torch.equal(model.eval()(series), model(series))


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_eight_series_by_heart(kind: Any) -> None:
    torch.manual_seed(0)
    model = rnn((6, 3), 4, numbers(), kind=kind, hidden=16, bidirectional=True)
    assert loss_after(60, model, drawn(8, 6, 3), torch.arange(8) % 4) < 0.1


def test_it_learns_a_class_at_each_position() -> None:
    torch.manual_seed(0)
    ids = tokens(8, 6)
    before = nn.functional.pad(ids[:, :-1], (1, 0))  # it has to remember the token before
    assert loss_after(80, rnn((6,), TOKENS, texts(6), hidden=32, embedding=16), ids, before) < 0.05


def test_what_does_not_fit_is_refused_with_a_remedy() -> None:
    with pytest.raises(UserError, match="the inputs are 3×8×8") as refused:
        rnn((3, 8, 8), 4, numbers())
    assert refused.value.fix
    with pytest.raises(UserError, match="5 places") as refused:
        rnn((6,), 4, texts(5))
    assert refused.value.fix
