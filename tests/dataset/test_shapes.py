"""Generated images of shapes: the pixels that a class has are those that were drawn, and areas are fair."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dlrun.data.examples import Examples
from dlrun.dataset.shapes import shapes, within
from dlrun.errors import UserError


def read(**options: Any) -> dict[str, Examples]:
    return dict(shapes(Path("no-data"), **{"images": 40, "test_images": 10, "noise": 0.0} | options).read())


def images_of(examples: Examples) -> tuple[Tensor, Tensor]:
    assert isinstance(examples.inputs, Tensor) and isinstance(examples.targets, Tensor)
    return examples.inputs, examples.targets


@pytest.mark.parametrize("corners", [0, 3, 4])
def test_shapes_of_one_size_have_the_same_area(corners: int) -> None:
    radius = torch.tensor([20.0, 31.0, 47.0])
    inside = within(corners, 200, torch.full((3, 2), 100.0), radius, torch.tensor([0.1, 0.7, 2.5]))
    assert inside.sum((1, 2)).tolist() == pytest.approx((math.pi * radius**2).tolist(), rel=0.02)


def test_a_square_and_a_triangle_are_those_with_such_corners() -> None:
    angle, radius = 0.4, 10.0
    for corners in (3, 4):
        [inside] = within(
            corners, 64, torch.tensor([[30.0, 35.0]]), torch.tensor([radius]), torch.tensor([angle])
        )
        far = radius * math.sqrt(2 * math.pi / corners / math.sin(2 * math.pi / corners))
        directions = [angle + math.pi / corners + 2 * math.pi * k / corners for k in range(corners)]
        ring = [(30 + far * math.cos(d), 35 + far * math.sin(d)) for d in directions]
        edges = list(zip(ring, [*ring[1:], ring[0]], strict=True))
        for row, column in torch.cartesian_prod(torch.arange(64), torch.arange(64)).tolist():
            x, y = column + 0.5, row + 0.5
            sides = [(bx - ax) * (y - ay) - (by - ay) * (x - ax) for (ax, ay), (bx, by) in edges]
            assert bool(inside[row, column]) == (min(sides) >= 0), (corners, row, column)


def test_the_pixels_of_a_shape_have_its_class_and_the_others_are_background() -> None:
    images, targets = images_of(read(most=1)["train"])
    for image, classes in zip(images[:, 0], targets, strict=True):
        levels = {int(own): set(image[classes == own].tolist()) for own in classes.unique()}
        assert len(levels) == 2 and 0 in levels, "the background and a single shape"
        assert all(len(own) == 1 for own in levels.values()), "each of one grey"
    assert set(targets.unique().tolist()) == {0, 1, 2, 3}


def test_there_are_as_many_shapes_as_most_allows_and_as_many_classes_as_are_named() -> None:
    _, targets = images_of(read(images=200, most=2)["train"])
    counts = torch.tensor([len(own.unique()) - 1 for own in targets])
    assert set(counts.tolist()) == {1, 2}
    data = shapes(Path("no-data"), classes=["triangle", "disc"])
    assert data.classes == ("background", "triangle", "disc")


def test_a_colour_has_three_channels_that_differ() -> None:
    images, targets = images_of(read(colour=True, size=16)["train"])
    assert (images.shape, targets.shape) == ((40, 3, 16, 16), (40, 16, 16))
    assert bool((images[:, 0] != images[:, 1]).any())


def test_the_seed_draws_the_images_and_no_split_has_those_of_another() -> None:
    first, same, other = read(), read(), read(seed=1)
    for split in ("train", "test"):
        assert all(map(torch.equal, images_of(first[split]), images_of(same[split])))
        assert not torch.equal(images_of(first[split])[0], images_of(other[split])[0])
    both = torch.cat([images_of(first[split])[0] for split in ("train", "test")])
    assert len(both.flatten(1).unique(dim=0)) == 50


def test_noise_has_the_deviation_that_is_stated() -> None:
    without = images_of(read()["train"])
    noisy = images_of(read(noise=0.05)["train"])
    assert torch.equal(without[1][:1], noisy[1][:1]), "the same shapes, of the first image at least"
    rest = (noisy[0][:1].float() - without[0][:1].float()) / 255
    assert float(rest.std()) == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"classes": []}, r"classes are \[\]"),
        ({"classes": ["disc", "disc"]}, "one or more different"),
        ({"images": 10**6, "size": 1024}, "1,000,200 images of 1024×1024 pixels are more than"),
    ],
)
def test_classes_and_sizes_that_make_no_sense_are_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(UserError, match=what) as refused:
        shapes(Path("no-data"), **options)
    assert refused.value.fix
