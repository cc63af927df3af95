"""The U-Net: a class for each pixel, at any size of the image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from made_data import drawn, loss_after, numbers, size
from torch import nn

from dlrun.architecture.unet import filled_up, unet
from dlrun.errors import UserError


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 16), (19, 31), (23, 18)])
def test_outputs_have_the_images_size_odd_or_even(height: int, width: int) -> None:
    model = unet((3, height, width), 5, numbers(height, width), channels=2)
    assert model(drawn(2, 3, height, width)).shape == (2, 5, height, width)


def test_a_dropped_row_or_column_is_filled_up_behind() -> None:
    x = filled_up(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 3, 2))
    assert x.tolist() == [[[[1, 1], [1, 1], [0, 0]]]]
    x = filled_up(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 3))
    assert x.tolist() == [[[[1, 1, 0], [1, 1, 0]]]]


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_weights_are_as_many_as_the_formula_says(batch_norm: bool) -> None:
    def twice(a: int, b: int) -> int:
        beside = 2 * b if batch_norm else b  # a scale and an offset, or a bias
        return (9 * a * b + beside) + (9 * b * b + beside)

    model = unet((3, 8, 8), 5, numbers(8, 8), channels=2, depth=2, batch_norm=batch_norm)
    down = twice(3, 2) + twice(2, 4) + twice(4, 8)
    up = (4 * 8 * 4 + 4) + twice(8, 4) + (4 * 4 * 2 + 2) + twice(4, 2)
    assert size(model) == down + up + (2 + 1) * 5


def test_the_papers_network_has_23_convolutions_and_31_million_weights() -> None:
    with torch.device("meta"):
        model = unet((1, 572, 572), 2, numbers(572, 572), batch_norm=False)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(convolutions) == 23
    assert round(size(model) / 1e6) == 31
    assert max(m.out_channels for m in convolutions) == 1024


def test_an_output_sees_its_pixel_without_the_way_down_and_far_pixels_through_it() -> None:
    model = unet((1, 16, 16), 2, numbers(16, 16), channels=4, depth=3).eval()
    with torch.no_grad():  # positive weights of a positive image: no ReLU stops a gradient by chance
        for weight in model.parameters():
            weight.abs_()
    image = drawn(1, 1, 16, 16).abs().requires_grad_()

    def seen() -> tuple[bool, bool]:
        """True if the output at one pixel depends on that pixel, and on the far corner of 4×4 pixels."""
        image.grad = None
        model(image)[0, 0, 8, 8].backward()
        assert image.grad is not None
        return bool(image.grad[0, 0, 8, 8] != 0), bool(image.grad[0, 0, :4, :4].any())

    assert seen() == (True, True), "two convolutions alone see 5×5 pixels"
    with torch.no_grad():
        for enlarge in model.enlarge:
            enlarge.weight.zero_()  # nothing comes from below
    assert seen() == (True, False)


def test_it_learns_the_pixels_of_eight_images_by_heart() -> None:
    torch.manual_seed(0)
    images = drawn(8, 1, 9, 9)
    model = unet((1, 9, 9), 2, numbers(9, 9), channels=8, depth=2)
    assert loss_after(30, model, images, (images[:, 0] > 0.3).long()) < 0.1


@pytest.mark.parametrize(
    ("build", "what", "fix"),
    [
        (lambda: unet((8,), 2, numbers(8)), "the inputs are 8", ""),
        (lambda: unet((1, 8, 8), 2, numbers()), "a class of the whole image", "a class for each pixel"),
        (lambda: unet((1, 8, 8), 2, numbers(8, 9)), "the targets are 8×9", "a class for each pixel"),
        (
            lambda: unet((1, 8, 9), 2, numbers(8, 9)),
            "number 4 leaves nothing of images of 8×9",
            "depth to at most 3",
        ),
        (lambda: unet((1, 1, 9), 2, numbers(1, 9)), "number 1 leaves nothing", "larger images"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_remedy(build: Any, what: str, fix: str) -> None:
    with pytest.raises(UserError) as refused:
        build()
    assert what in refused.value.what
    assert fix in refused.value.fix


def test_the_greatest_depth_that_is_named_is_taken() -> None:
    assert unet((1, 8, 9), 2, numbers(8, 9), channels=1, depth=3)(drawn(2, 1, 8, 9)).shape == (2, 2, 8, 9)
