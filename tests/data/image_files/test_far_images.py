"""New images that look like no training image are said with the remedy; genuine ones are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import own_parts, planned, trained, written
from torch import Tensor

from dlrun.data.image_files.far_images import (
    IMAGE_RANGES,
    FarImages,
    image_figures,
    ranges_in,
    ranges_of_images,
)
from dlrun.dataset.mnist import mnist
from dlrun.results.prediction import FAR, PredictedPieces, predict_files
from dlrun.training.checkpoint import load_checkpoint

NAMES = [f"{number}.png" for number in range(10_000)]


def noise(n: int, size: int = 28) -> Tensor:
    return torch.randint(256, (n, 1, size, size), generator=torch.Generator().manual_seed(0)).byte()


def test_the_figures_of_an_image_are_those_of_its_pixels() -> None:
    images = noise(3, 6).expand(3, 2, 6, 6)
    found = image_figures(images)
    for number, image in enumerate(images.numpy().astype(float)):
        ring = np.ones((6, 6), bool)
        ring[1:-1, 1:-1] = False
        corners = [image[:, y, x] for y in (0, 5) for x in (0, 5)]  # each is in two of the four sides
        edge = np.concatenate([image[:, ring].ravel(), *corners])
        expected = {
            "brightness": image.mean(),
            "contrast": image.std(),
            "brightness of the edge": edge.mean(),
            "roughness": np.abs(np.diff(image, axis=2)).mean(),
        }
        assert {name: float(values[number]) for name, values in found.items()} == pytest.approx(expected)


def test_no_genuine_digit_is_far_and_every_inverted_one_and_noise_are(real_mnist: Path) -> None:
    parts = planned(dataset="mnist", architecture={"name": "linear", "flatten": True}, data_dir=real_mnist)
    loaded = parts.load()
    ranges = ranges_in(ranges_of_images(parts.data, loaded["train"]))
    digits = mnist(real_mnist).read()["test"].inputs
    assert isinstance(digits, Tensor)
    some = loaded["train"].raw(torch.linspace(0, 59_999, 10_000).long()).numpy().astype(float)
    brightness, contrast = some.mean((1, 2, 3)), some.std((1, 2, 3))
    assert ranges["brightness"] == pytest.approx((brightness.min(), brightness.max()))
    assert ranges["contrast"] == pytest.approx((contrast.min(), contrast.max()))
    assert ranges["values"] == (0, 255)
    assert FarImages(ranges).found(digits, NAMES) == {}
    inverted = FarImages(ranges)
    assert len(inverted.found(255 - digits[:3000], NAMES)) == 3000
    assert str(inverted).startswith("3,000 images lie far outside the training images: 0.png (brightness 23")
    assert str(inverted).endswith("invert them: light and dark are the other way round than in training")
    noisy = FarImages(ranges)
    assert len(noisy.found(noise(100), NAMES)) == 100
    assert str(noisy).endswith(" and 97 more; the model has seen nothing like them")


@pytest.mark.parametrize(
    "wrong",
    [
        {"brightness": [0.0]},
        {"brightness": [2.0, 1.0]},
        {"brightness": [float("nan"), 1.0]},
        {"brightness": [0.0, float("inf")]},
        {"brightness": [float("-inf"), 1.0]},
        {"brightness": [0, 1]},
        {"brightness": torch.zeros(2)},
        {"more": [0.0, 1.0]},
    ],
)
def test_ranges_of_a_stranger_that_make_no_sense_are_none(wrong: dict[str, Any]) -> None:
    names = ("brightness", "contrast", "brightness of the edge", "roughness", "values")
    sound: dict[str, Any] = {name: [0.0, 1.0] for name in names}
    assert ranges_in(sound)["roughness"] == (0.0, 1.0)
    assert ranges_in(sound | wrong) == {}
    assert ranges_in(None) == ranges_in([]) == ranges_in({}) == {}
    assert FarImages({}).found(noise(2), NAMES) == {}


def flat(*levels: float) -> Tensor:
    """An image of a single grey for each level, in which only the brightness may be far."""
    return torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)


def ranges(low: float, high: float, white: float = 255.0) -> dict[str, tuple[float, float]]:
    """The ranges of training images with such a brightness, and any of the other figures."""
    others = ("contrast", "brightness of the edge", "roughness", "values")
    return {"brightness": (low, high)} | dict.fromkeys(others, (0.0, white))


@pytest.mark.parametrize(
    ("low", "high", "usual", "far"),
    [
        (100, 150, (76, 174), (74, 176)),  # half of the range beyond it
        (100, 104, (88, 116), (87, 117)),  # a twentieth of that of all pixels, which is more here
    ],
)
def test_an_image_a_little_beyond_the_training_images_is_usual(
    low: float, high: float, usual: tuple[float, ...], far: tuple[float, ...]
) -> None:
    assert FarImages(ranges(low, high)).found(flat(*usual), NAMES) == {}
    found = FarImages(ranges(low, high)).found(flat(*far), NAMES)
    assert found == {n: {"brightness": (level, (low, high))} for n, level in enumerate(far)}


@pytest.mark.parametrize("white", [255.0, 1.0])
def test_the_note_counts_those_to_invert_and_names_three(white: float) -> None:
    images = FarImages(ranges(0.0, 0.1 * white, white))
    images.found(flat(0.95 * white, 0.5 * white, 0.05 * white), NAMES[:3])  # the last is as in training
    assert str(images).startswith("2 images lie far outside the training images: 0.png (brightness ")
    assert str(images).endswith("; invert 1 of them: light and dark are the other way round than in training")
    images.found(flat(0.5 * white, 0.5 * white), NAMES[3:])
    assert [name in str(images) for name in NAMES[:5]] == [True, True, False, True, False]
    assert str(images).startswith("4 images lie ") and " and 1 more; " in str(images)


def test_what_is_no_image_has_no_ranges() -> None:
    plan = planned()
    assert ranges_of_images(plan.data, plan.load()["train"]) == {}


def test_predictions_of_images_unlike_those_of_training_say_so(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    plan = planned(parts, dataset="dots", architecture={"name": "mlp", "flatten": True})
    run = trained(plan, tmp_path)
    folder = tmp_path / "new"
    folder.mkdir()
    some = plan.load()["test"].raw()[:4, 0].numpy()
    for number, pixels in enumerate(some):
        Image.fromarray(pixels if number != 1 else 255 - pixels).save(folder / f"{number}.png")
    (folder / "0.png").write_bytes(b"no image")

    def predicted(path: Path) -> PredictedPieces:
        found = predict_files(path, [folder], parts, Path("no-data"))
        assert isinstance(found, PredictedPieces)
        return found

    found = predicted(run.best)
    rows = found.rows()
    assert [FAR in row for row in rows] == [False, True, False, False]
    assert rows[1][FAR]["brightness"]["value"] == pytest.approx(255 - some[1].mean())
    [note] = found.plan.data.notes
    assert note.startswith(f"1 image lies far outside the training images: {folder}/1.png (brightness 1")
    assert note.endswith("; invert it: light and dark are the other way round than in training")
    saved = load_checkpoint(run.best)
    before = {name: own for name, own in saved.data.items() if name != IMAGE_RANGES}
    entries = {name: getattr(saved, name) for name in ("config", "state", "figures", "environment")}
    found = predicted(written(tmp_path / "before.pt", data=before, **entries))
    assert [row["class"] for row in found.rows()[1:]] == [row["class"] for row in rows[1:]]
    assert found.plan.data.notes == [], "a checkpoint of before knows nothing of its images"
