"""Tones, sharpness and perspective of images have torchvision's values, each image by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dlrun.augmentations.perspective import seen_from
from dlrun.blocks import chosen_examples
from dlrun.blocks.pixel_grids import interpolated
from dlrun.blocks.tones import autocontrasted, equalised, inverted, posterised, sharpened, solarised
from dlrun.config.registry import Parts
from dlrun.data.torchvision_import import import_torchvision

PARTS = Parts()
N, ROWS, COLUMNS = 18, 23, 31


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def levels() -> Tensor:
    """Images of 8 bits (n, 3, rows, columns), among them dark, constant and two-valued ones."""
    images = torch.randint(0, 256, (N, 3, ROWS, COLUMNS), generator=stream(), dtype=torch.uint8)
    images[1] //= 7
    images[2] = 200
    images[3] = images[3] // 128 * 255
    images[4, :, 2:] = images[4, :, :1, :1]  # so few others that no level can be moved
    images[5, 0], images[5, 1] = 0, 255
    return images


def test_levels_are_those_of_torchvision_for_8_bits() -> None:
    """Exactly, and from normalised pixels, whose levels are rounded a little."""
    import_torchvision()
    import torchvision.transforms.v2.functional as theirs

    images = levels()
    bits, threshold = torch.arange(N) % 9, torch.arange(N) / (N - 1)
    threshold[-3:] = torch.tensor([51, 101, 200]) / 255  # where some pixels lie
    expected = {
        "posterise": [theirs.posterize(own, int(b)) for own, b in zip(images, bits, strict=True)],
        "solarise": [theirs.solarize(own, float(255 * t)) for own, t in zip(images, threshold, strict=True)],
        "equalise": [theirs.equalize(own) for own in images],
        "invert": [theirs.invert(own) for own in images],
    }
    mean, sd = (
        torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1),
        torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1),
    )
    exact = images / 255
    for pixels in (exact, ((exact - mean) / sd) * sd + mean):
        found = {
            "posterise": posterised(pixels, bits),
            "solarise": solarised(pixels, threshold),
            "equalise": equalised(pixels),
            "invert": inverted(pixels),
        }
        for name, values in found.items():
            whole = (255 * values).round()
            assert torch.equal(whole.to(torch.uint8), torch.stack(expected[name])), name
            torch.testing.assert_close(255 * values, whole, rtol=0, atol=1e-3)


def test_contrast_and_sharpness_are_those_of_torchvision() -> None:
    import_torchvision()
    import torchvision.transforms.v2.functional as theirs

    images, factor = levels() / 255, 3 * torch.rand(N, generator=stream(1))
    for own, stretched, sharp, by in zip(
        images, autocontrasted(images), sharpened(images, factor), factor, strict=True
    ):
        torch.testing.assert_close(stretched, theirs.autocontrast(own), rtol=0, atol=1e-6)
        torch.testing.assert_close(sharp, theirs.adjust_sharpness(own, float(by)), rtol=0, atol=1e-6)
    thin = torch.rand(2, 3, 2, 9)
    assert torch.equal(sharpened(thin, torch.zeros(2)), thin), "no pixel has all its neighbours"


@pytest.mark.parametrize("distortion", [0.2, 0.6, 0.999])
def test_a_perspective_is_that_of_torchvision(distortion: float) -> None:
    import_torchvision()
    import torchvision.transforms.v2.functional as theirs

    images = torch.nn.functional.interpolate(torch.rand(N, 3, 4, 5, generator=stream()), (ROWS, COLUMNS))
    ways = distortion / 2 * torch.rand(N, 4, 2, generator=stream(2))
    whole = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    corners = (whole - ways).abs()
    found = interpolated(images, seen_from((ROWS, COLUMNS), corners))
    size = torch.tensor([COLUMNS, ROWS])
    for own, image, points in zip(found, images, corners, strict=True):
        expected = theirs.perspective(image, (whole * size).tolist(), (points * size).tolist())
        torch.testing.assert_close(own, expected, rtol=0, atol=2e-3)


def test_a_perspective_moves_corners_as_far_as_it_says() -> None:
    """Of white images, which turn black where their edges leave the picture's."""
    images = torch.ones(300, 1, 40, 40)
    change = PARTS.find("augmentations", "perspective")
    found, none = change(images, None, stream(), probability=1.0, distortion=0.4)
    assert none is None
    first = (found[:, 0, 20] > 0.5).float().argmax(1)  # the left edge at half the height
    assert int(first.min()) <= 1
    assert 6 < int(first.max()) <= 8
    assert bool((found[:, 0, 8:32, 8:32] > 0.99).all()), "nothing beyond half of 0.4"
    for row, column in ((0, 8), (8, 0), (0, 31), (8, 39), (39, 8), (31, 0), (39, 31), (31, 39)):
        stays = (found[:, 0, row, column] > 0.5).float().mean()
        assert float(stays) < 0.2, "each corner both ways, and inwards"
    still, _ = change(images, None, stream(), probability=1.0, distortion=0.0)
    torch.testing.assert_close(still, images, rtol=0, atol=1e-5)


CHANGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "posterise": lambda images, numbers: posterised(images, (8 * numbers).round()),
    "solarise": solarised,
    "equalise": lambda images, numbers: equalised(images),
    "autocontrast": lambda images, numbers: autocontrasted(images),
    "sharpen": sharpened,
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_image_is_changed_alike_alone_and_in_a_batch(name: str) -> None:
    images, numbers = torch.rand(N, 3, ROWS, COLUMNS, generator=stream()), torch.rand(N, generator=stream(1))
    together = CHANGES[name](images, numbers)
    alone = [CHANGES[name](images[i : i + 1], numbers[i : i + 1])[0] for i in range(N)]
    assert torch.equal(together, torch.stack(alone))


@pytest.mark.parametrize(
    "name", ["perspective", "sharpen", "posterise", "solarise", "equalise", "autocontrast"]
)
def test_an_accelerator_which_does_not_count_gets_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, part = torch.rand(N, 3, ROWS, COLUMNS, generator=stream()), PARTS.part("augmentations", name)
    masks = torch.arange(N * ROWS * COLUMNS).view(N, ROWS, COLUMNS)
    given = (images, masks) if "masks" in part.takes else (images,)
    change = PARTS.find("augmentations", name)
    found = change(*given, stream(3), **part.defaults)
    monkeypatch.setattr(chosen_examples, "can_count", lambda device: False)
    again = change(*given, stream(3), **part.defaults)
    for one, other in zip(
        *((each if isinstance(each, tuple) else (each,)) for each in (found, again)), strict=True
    ):
        assert torch.equal(one, other)
