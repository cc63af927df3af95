"""Embeddings are the principal components of what the last layer is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from small_runs import own_parts
from test_plots import CNN, DAYS, drawn, untrained, words
from torch import nn

from dlrun.drawing.layers import layer_called
from dlrun.errors import UserError
from dlrun.plots.embeddings import in_colours, inputs_of, last_linear, principal_components

STREAM = torch.Generator().manual_seed(2)


def points_in(figure: Figure) -> np.ndarray[Any, Any]:
    """The points of a figure, (n, 2)."""
    drawn_ones = [each for each in figure.axes[0].collections if isinstance(each, PathCollection)]
    return np.concatenate([np.asarray(each.get_offsets()) for each in drawn_ones])


@pytest.mark.parametrize(("n", "size"), [(30, 5), (8, 40), (12, 2), (7, 1)])
def test_components_and_shares_are_those_of_scikit_learn(n: int, size: int) -> None:
    vectors = torch.randn(n, size, generator=STREAM).double() * torch.arange(1, size + 1) + 3
    points, shares = principal_components(vectors)
    theirs = PCA(min(2, size), svd_solver="full").fit(vectors.numpy())
    expected = theirs.transform(vectors.numpy())
    largest = np.abs(theirs.components_).argmax(1)
    signs = np.sign(theirs.components_[np.arange(len(largest)), largest])
    assert points[:, : expected.shape[1]].numpy() == pytest.approx(expected * signs)
    assert shares[: min(2, size)] == pytest.approx(theirs.explained_variance_ratio_)
    assert points.shape == (n, 2) and shares[1:] == pytest.approx(
        [1 - shares[0]] if size <= 2 else shares[1:]
    )


def test_the_last_linear_layer_is_given_what_is_drawn(tmp_path: Path) -> None:
    architecture = CNN | {"hidden": [6], "batch_norm": True, "dropout": 0.5}
    model = untrained(
        own_parts(tmp_path), dataset="dots", architecture=architecture, evaluation_batch_size=7, seeds=[0, 1]
    )
    layers = model.model.eval().copies[0]
    assert isinstance(layers, nn.Sequential)
    *before, last = layers.children()
    assert isinstance(last, nn.Linear)
    name, chosen = last_linear(model), torch.tensor([3, 0, 11, 12, 19, 7, 8, 1])
    assert layer_called(model, "embeddings", name) is last
    expected = nn.Sequential(*before)(model.loaded["test"].batch(chosen)[0])
    given = inputs_of(model, last, name, "test", chosen)
    assert torch.allclose(given, expected.double(), atol=1e-6)
    figure = drawn(model, "embeddings", split="test")
    every = inputs_of(model, last, name, "test", torch.arange(20))
    points, shares = principal_components(every)
    order = model.loaded["test"].targets.argsort(stable=True)  # a class after the other
    assert points_in(figure) == pytest.approx(points[order].numpy())
    assert f"first component: {100 * shares[0]:.3g} % of the variance" in words(figure)
    assert f"Inputs of the layer {name}: 6 numbers" in words(figure)
    few = drawn(model, "embeddings", split="test", examples=5, layer="0")
    assert len(points_in(few)) == 5 and "5 of 20" in words(few) and "64 numbers" in words(few)


def test_values_of_a_regression_are_colours(tmp_path: Path) -> None:
    model = untrained(own_parts(tmp_path), **DAYS)
    figure = drawn(model, "embeddings", split="test")
    [drawn_ones] = [each for each in figure.axes[0].collections if isinstance(each, PathCollection)]
    values = drawn_ones.get_array()
    assert values is not None and values.tolist() == pytest.approx(
        model.loaded["test"].targets[:, 0].tolist()
    )
    assert "warmth (K)" in words(figure)


def test_of_more_classes_than_colours_the_most_frequent_have_one() -> None:
    classes = tuple(f"c{number}" for number in range(12))
    targets = torch.tensor([*range(12), *range(2, 12)])
    names, places, said = in_colours(targets, classes)
    assert names == classes[2:] and said == "pale: the other 2 classes"
    assert places.tolist() == [-1, -1, *range(10), *range(10)]


def test_a_layer_that_gives_no_point_for_each_example_is_refused(tmp_path: Path) -> None:
    parts = own_parts(
        tmp_path,
        {
            "architecture/odd.py": '''
"""Convolutions alone, and layers that are used otherwise."""
from torch import nn


class Odd(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.kernels = nn.Conv2d(1, outputs, 8)
        self.unused = nn.Linear(2, 2)
        self.each = nn.ReLU()

    def forward(self, images):
        return self.each(self.kernels(images).flatten()).view(len(images), -1)


def odd(shape, outputs):
    """A convolution as large as the image."""
    return Odd(outputs)
'''
        },
    )
    model = untrained(parts, dataset="dots", architecture="odd")
    with pytest.raises(UserError, match="embeddings: the model has no linear layer") as refused:
        drawn(model, "embeddings")
    assert refused.value.fix == "name one as embeddings.layer"
    for layer, said in (
        ("unused", "unused is not used"),
        ("each", "each is given 60"),
        ("eech", "no layer eech"),
    ):
        with pytest.raises(UserError, match=said):
            drawn(model, "embeddings", layer=layer, split="test")
    with pytest.raises(UserError, match="the same for every example"):
        principal_components(torch.full((4, 3), 0.1))
