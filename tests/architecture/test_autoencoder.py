"""The autoencoder: a code in the middle, and outputs of the input's shape."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from made_data import drawn, loss_after, size
from torch import nn

from dlrun.architecture.autoencoder import autoencoder
from dlrun.errors import UserError


@pytest.mark.parametrize("shape", [(5,), (6, 3), (2, 3, 4)])
def test_it_gives_back_the_shape_of_its_input_from_a_code(shape: tuple[int, ...]) -> None:
    inputs = drawn(4, *shape)
    model: Any = autoencoder(shape, inputs[0].numel(), hidden=(7,), code=2)
    assert model(inputs).shape == inputs.shape
    assert model.encoder(inputs).shape == (4, 2)
    assert torch.equal(model.decoder(model.encoder(inputs)), model(inputs))


def test_the_decoder_mirrors_the_encoder() -> None:
    model: Any = autoencoder((9,), 9, hidden=(7, 4), code=2, activation="tanh")
    of_encoder = [(layer.in_features, layer.out_features) for layer in model.encoder[::2]]
    of_decoder = [(layer.in_features, layer.out_features) for layer in model.decoder[::2]]
    assert of_encoder == [(9, 7), (7, 4), (4, 2)]
    assert of_decoder == [(2, 4), (4, 7), (7, 9)]
    assert {type(layer) for half in (model.encoder, model.decoder) for layer in half[1::2]} == {nn.Tanh}


def test_the_weights_are_as_many_as_the_formula_says() -> None:
    model = autoencoder((2, 3), 6, hidden=(5,), code=2)
    assert size(model) == (6 + 1) * 5 + (5 + 1) * 2 + (2 + 1) * 5 + (5 + 1) * 6
    paper = [784, 1000, 500, 250, 30, 250, 500, 1000, 784]
    with torch.device("meta"):
        model = autoencoder((1, 28, 28), 784)
    assert size(model) == sum((a + 1) * b for a, b in pairwise(paper))


def test_the_code_and_the_outputs_are_linear_unless_a_sigmoid_is_wanted() -> None:
    model: Any = autoencoder((2, 3), 6, hidden=(5,), code=2)
    assert isinstance(model.encoder[-1], nn.Linear)
    far = 100 * drawn(50, 2, 3)
    assert model(far).min() < 0 and model(far).max() > 1
    model = autoencoder((2, 3), 6, hidden=(5,), code=2, output_activation="sigmoid")
    assert model(far).min() >= 0 and model(far).max() <= 1


def test_it_learns_to_give_back_eight_images() -> None:
    torch.manual_seed(0)
    images = drawn(8, 1, 4, 4)
    model = autoencoder((1, 4, 4), 16, hidden=(64,), code=8)
    assert loss_after(120, model, images, images) < 0.05 * float(images.var())


def test_other_outputs_than_the_inputs_are_refused_with_a_remedy() -> None:
    with pytest.raises(UserError, match="the 784 numbers of an input, but 10 outputs") as refused:
        autoencoder((1, 28, 28), 10)
    assert "reconstruction" in refused.value.fix
