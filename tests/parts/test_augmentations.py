"""Augmentations of images have torchvision's values, and what lies over the pixels moves with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import own_parts, planned
from torch import Tensor

from dlrun.augmentations.affine import moved
from dlrun.augmentations.blur import gaussian
from dlrun.augmentations.random_resized_crop import resized
from dlrun.blocks.colours import blended, greyed, with_hue_turned
from dlrun.blocks.draws import rectangles
from dlrun.blocks.places import IGNORED
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.data.example_weights import parted, with_weights
from dlrun.data.examples import Examples
from dlrun.data.image_files.pixels import FITS
from dlrun.data.torchvision_import import import_torchvision
from dlrun.errors import UserError
from dlrun.training.plan import Plan
from dlrun.training.plan_trials import try_on

PARTS = Parts()
MOVING = ["crop", "flip", "affine", "random_resized_crop", "perspective"]
TONES = ["sharpen", "posterise", "solarise", "equalise", "autocontrast"]
N, ROWS, COLUMNS = 20, 13, 18

COLOURS = '''
"""Small random images of two classes."""
import torch
from dlrun.data.examples import Data, Examples
from dlrun.data.image_files.pixels import FITS
from dlrun.config.options import Normalise


def colours(root, *, normalise: Normalise = "train", are_bytes: bool = True):
    """Images of 3×9×8 pixels, brighter in the second class."""

    def read():
        stream = torch.Generator().manual_seed(2)
        targets = torch.arange(24) % 2
        pixels = torch.randint(0, 200, (24, 3, 9, 8), generator=stream, dtype=torch.uint8)
        pixels += (50 * targets).to(torch.uint8).view(-1, 1, 1, 1)
        examples = Examples(pixels if are_bytes else pixels.float(), targets)
        return {"train": examples, "test": examples}

    fit = FITS[normalise if are_bytes else "unit"]
    return Data("classification", (3, 9, 8), read, classes=("dark", "bright"), fit=fit)
'''


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def change(name: str, inputs: Tensor, masks: Tensor | None = None, seed: int = 0, **options: Any) -> Any:
    """Some inputs after an augmentation; with their masks, if it moves these."""
    part = PARTS.part("augmentations", name)
    given = (inputs, masks) if "masks" in part.takes else (inputs,)
    size = (inputs.shape[2:],) if "size" in part.takes else ()
    return PARTS.find("augmentations", name)(*given, stream(seed), *size, **part.defaults | options)


def of_colours(folder: Path, *changes: object, **keys: Any) -> Plan:
    """The plan of a small model of coloured images with some augmentations."""
    options = {"name": "colours"} | keys.pop("dataset", {})
    parts = own_parts(folder, {"dataset/colours.py": COLOURS})
    linear = {"name": "linear", "flatten": True}
    return planned(parts, dataset=options, architecture=linear, augmentations=list(changes), **keys)


# ------------------------------------------------------------------------ torchvision's values


def test_each_image_has_the_values_of_torchvision_for_the_same_parameters() -> None:
    import_torchvision()
    import torchvision.transforms.v2.functional as theirs
    from torchvision.transforms.v2 import InterpolationMode

    images = torch.rand(N, 3, ROWS, COLUMNS, generator=stream())
    images[0], images[1] = images[0, :1].clone(), 0  # without colours, which have no hue
    draws = stream(1)

    def drawn(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(N, generator=draws)

    height, width = drawn(1, ROWS).round(), drawn(1, COLUMNS).round()
    top, left = (drawn(0, 1) * (ROWS - height)).round(), (drawn(0, 1) * (COLUMNS - width)).round()
    angle, lean, factor = drawn(-180, 180), drawn(-40, 40), drawn(0, 2)
    down, right, sigma, turn = drawn(-4, 4).round(), drawn(-4, 4).round(), drawn(0.1, 2), drawn(-0.5, 0.5)
    mean = greyed(images).mean((1, 2, 3), keepdim=True)
    found = {
        "crop": resized(images, None, (ROWS, COLUMNS), top, left, height, width)[0],
        "affine": moved(images, None, angle, down, right, factor + 0.5, lean)[0],
        "blur": gaussian(6, images, sigma),
        "brightness": blended(images, None, factor),
        "contrast": blended(images, mean, factor),
        "saturation": blended(images, greyed(images), factor),
        "hue": with_hue_turned(images, turn),
        "grey": greyed(images),
    }
    linear = InterpolationMode.BILINEAR
    for i, image in enumerate(images):
        part = [int(each[i]) for each in (top, left, height, width)]
        shift, by = [float(right[i]), float(down[i])], float(factor[i])
        expected = {
            "crop": theirs.resized_crop(image, *part, [ROWS, COLUMNS]),
            "affine": theirs.affine(
                image, float(angle[i]), shift, by + 0.5, [float(lean[i]), 0.0], interpolation=linear
            ),
            "blur": theirs.gaussian_blur(image, [13, 13], [float(sigma[i])] * 2),
            "brightness": theirs.adjust_brightness(image, by),
            "contrast": theirs.adjust_contrast(image, by),
            "saturation": theirs.adjust_saturation(image, by),
            "hue": theirs.adjust_hue(image, float(turn[i])),
            "grey": theirs.rgb_to_grayscale(image, 1),
        }
        for name, value in expected.items():
            torch.testing.assert_close(found[name][i], value, rtol=0, atol=1e-5, msg=f"{name} of {i}")


def test_colour_jitter_is_its_four_changes_one_after_the_other() -> None:
    """With factors that are drawn again one option at a time, from the same stream."""
    images = torch.rand(N, 3, ROWS, COLUMNS, generator=stream())
    draws = stream(3)
    factors = [0.5 + torch.rand(N, generator=draws) for _ in range(3)]
    turn = -0.2 + 0.4 * torch.rand(N, generator=draws)
    expected = blended(images, None, factors[0])
    expected = blended(expected, greyed(expected).mean((1, 2, 3), keepdim=True), factors[1])
    expected = with_hue_turned(blended(expected, greyed(expected), factors[2]), turn)
    options = {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.2}
    torch.testing.assert_close(change("colour_jitter", images, seed=3, **options), expected)
    nothing = dict.fromkeys(options, 0.0)
    assert torch.equal(change("colour_jitter", images, **nothing), images)
    brighter = change("colour_jitter", images, **nothing | {"brightness": 3.0})
    assert bool((brighter > 0).flatten(1).any(1).all()), "no factor is below 0"
    grey = images[:, :1]
    coloured = change("colour_jitter", grey, **nothing | {"saturation": 0.9, "hue": 0.5})
    assert torch.equal(coloured, grey), "grey images have neither saturation nor hue"


# ------------------------------------------------------------------------ as often and as far as they say


@pytest.mark.parametrize("name", ["grayscale", "erasing", "blur", "perspective", *TONES])
def test_a_share_of_the_images_is_changed(name: str) -> None:
    images = torch.rand(400, 3, ROWS, COLUMNS, generator=stream())
    options = {"sigma": [0.5, 2.0]} if name == "blur" else {}  # less changes no pixel

    def changed(share: float) -> Tensor:
        found = change(name, images, probability=share, **options)
        return ((found[0] if isinstance(found, tuple) else found) != images).flatten(1).any(1)

    assert 60 < int(changed(0.25).sum()) < 140
    assert not bool(changed(0.0).any())
    assert bool(changed(1.0).all())


def test_rectangles_have_the_area_and_the_ratio_that_were_asked_for() -> None:
    n, side = 2000, 200
    top, left, height, width, found = rectangles((side, side), [0.1, 0.4], [0.5, 2.0], n, stream())
    assert bool(found.all())
    share, ratio = height * width / side**2, width / height
    assert 0.098 < float(share.min()) < 0.105 < 0.39 < float(share.max()) < 0.405
    assert 0.49 < float(ratio.min()) < 0.52 < 1.9 < float(ratio.max()) < 2.03
    assert float(share.mean()) == pytest.approx(0.25, abs=0.01)
    assert float(ratio.log().mean()) == pytest.approx(0, abs=0.03)
    for first, length in ((top, height), (left, width)):
        assert bool(((first >= 0) & (first + length <= side)).all())
        assert float((first / (side - length)).mean()) == pytest.approx(0.5, abs=0.02), "anywhere alike"


def test_what_cannot_fit_is_the_centre_of_a_crop_and_erases_nothing() -> None:
    wide = torch.rand(3, 1, 4, 40, generator=stream())
    whole = {"scale": [1.0, 1.0], "ratio": [1.0, 1.0]}
    found, _ = change("random_resized_crop", wide, **whole)
    centre = torch.nn.functional.interpolate(wide[..., 18:22], (4, 40), mode="bilinear")
    torch.testing.assert_close(found, centre)
    torch.testing.assert_close(change("random_resized_crop", wide.mT, **whole)[0], centre.mT)
    assert torch.equal(change("erasing", wide, probability=1.0, **whole), wide)


def test_erasing_leaves_what_is_outside_of_one_rectangle() -> None:
    images = 1 + torch.rand(50, 3, ROWS, COLUMNS, generator=stream())
    for fill in ("zero", "noise"):
        found = change("erasing", images, probability=1.0, fill=fill)
        gone = found != images
        assert torch.equal(gone.any(1), gone.all(1)), "of every channel alike"
        assert fill == "noise" or bool((found[gone] == 0).all())
        for own in gone[:, 0]:
            rows, columns = own.any(1).nonzero(), own.any(0).nonzero()
            block = own[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            assert bool(block.all()), "a rectangle without holes"
            assert 0.015 < float(own.float().mean()) < 0.36
    assert found[gone].std() == pytest.approx(1, abs=0.1)


def test_affine_goes_as_far_as_its_options_and_no_further() -> None:
    """A bright pixel far from the centre tells where it went."""
    images = torch.zeros(500, 1, 41, 41)
    images[:, :, 20, 35] = 1.0  # 15 to the right of the centre

    def places(**options: Any) -> tuple[Tensor, Tensor]:
        still = {"rotation": 0.0, "shift": 0.0, "scale": [1.0, 1.0], "shear": 0.0}
        found = change("affine", images, **still | options)[0].flatten(1)
        at = torch.arange(41.0)
        total = found.sum(1)
        down = (found.view(-1, 41, 41).sum(2) @ at) / total - 20
        return down, (found.view(-1, 41, 41).sum(1) @ at) / total - 20

    down, right = places()
    torch.testing.assert_close(down, torch.zeros(500))
    torch.testing.assert_close(right, torch.full((500,), 15.0))
    down, right = places(rotation=30.0)
    angles = torch.atan2(down, right).rad2deg()
    assert 28 < float(angles.max()) < 31
    assert -31 < float(angles.min()) < -28
    down, right = places(shift=0.1)
    assert 3.8 < float(down.max()) < 4.2
    assert 3.8 < float((right - 15).abs().max()) < 4.2
    down, right = places(scale=[0.8, 1.2])
    assert 11.5 < float(right.min()) < 12.5 < 17.5 < float(right.max()) < 18.5


def test_a_range_that_is_none_is_refused_with_what_to_write(tmp_path: Path) -> None:
    for scale in ([1.0, 0.5], [0.5]):
        with pytest.raises(ConfigError, match=r"augmentations: scale is .*smallest and the largest"):
            of_colours(tmp_path, {"name": "random_resized_crop", "scale": scale})
    with pytest.raises(ConfigError, match="blur of sigma 4 reaches 12 pixels, more than the image has"):
        of_colours(tmp_path, {"name": "blur", "sigma": [1.0, 4.0]})


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("v2.ColorJitter", "colour_jitter"),
        ("RandomResizedCrop", "random_resized_crop"),
        ("RandomHorizontalFlip", "flip"),
        ("RandomErasing", "erasing"),
        ("GaussianBlur", "blur"),
        ("RandomRotation", "affine"),
        ("RandomPerspective", "perspective"),
        ("RandomAdjustSharpness", "sharpen"),
        ("v2.RandomPosterize", "posterise"),
        ("posterize", "posterise"),
        ("RandomSolarize", "solarise"),
        ("RandomEqualize", "equalise"),
        ("RandomAutocontrast", "autocontrast"),
    ],
)
def test_the_names_of_torchvision_lead_to_dlruns(theirs: str, ours: str) -> None:
    with pytest.raises(UserError, match=f"dlrun's name is {ours} "):
        PARTS.part("augmentations", theirs)


# ------------------------------------------------------------------------ the scale of pixels


@pytest.mark.parametrize("normalise", ["unit", "half", "train"])
def test_colours_change_alike_whatever_the_preprocessing(normalise: str, tmp_path: Path) -> None:
    """On real pixels from 0 to 1, which are normalised behind."""
    jitter = {"name": "colour_jitter", "brightness": 0.8}
    plan = of_colours(tmp_path, jitter, "grayscale", *TONES, dataset={"normalise": normalise})
    loaded = plan.load()
    inputs, targets = loaded["train"].batch(torch.arange(24))
    pixels = loaded["train"].raw() / 255
    assert isinstance(inputs, Tensor)
    for augment in plan.recipe.augmentations:
        changed, kept = augment.on(loaded)(inputs, targets, stream(4))
        options = plan.config.augmentations[0].options if augment.name == "colour_jitter" else {}
        expected = 255 * change(augment.name, pixels, seed=4, **options)
        torch.testing.assert_close(loaded.preprocessing.undone(changed), expected, rtol=0, atol=1e-2)
        assert kept is targets


def test_a_blur_and_a_crop_are_the_same_before_and_after_normalising() -> None:
    pixels = torch.randint(0, 256, (8, 3, ROWS, COLUMNS), generator=stream(), dtype=torch.uint8)
    prepare = FITS["train"](Examples(pixels, torch.zeros(8)))
    for name in ("blur", "random_resized_crop"):
        first, last = change(name, pixels.float()), change(name, prepare(pixels))
        before, after = (each[0] if isinstance(each, tuple) else each for each in (first, last))
        torch.testing.assert_close(prepare(before), after, rtol=0, atol=1e-4)


def test_pixels_of_an_unknown_scale_are_refused_before_training(tmp_path: Path) -> None:
    plan = of_colours(tmp_path, "flip", "colour_jitter", dataset={"are_bytes": False})
    said = r"colour_jitter changes pixels from 0 to 255 \(uint8\), but the inputs are float32"
    with pytest.raises(ConfigError, match=said):
        try_on(plan, plan.load())
    with pytest.raises(UserError, match=said):
        plan.recipe.augmentations[1].on(plan.load())
    with pytest.raises(ConfigError, match="grayscale does not take inputs of 1×8×8: they are grey"):
        planned(
            own_parts(tmp_path), dataset="dots", architecture="softmax_scratch", augmentations=["grayscale"]
        )
    with pytest.raises(ConfigError, match="affine is for inputs of images, but those of spiral are 2"):
        planned(augmentations=["affine"])


# ------------------------------------------------------------------------ masks


@pytest.mark.parametrize("name", MOVING)
def test_masks_move_with_the_pixels(name: str) -> None:
    """Each pixel has its row and its column as its colours, and both as its class."""
    row, column = torch.meshgrid(torch.arange(ROWS), torch.arange(COLUMNS), indexing="ij")
    image = torch.stack([row, column, torch.ones(ROWS, COLUMNS)]).float()
    images = image.expand(N, -1, -1, -1).contiguous()
    masks = (row * COLUMNS + column).expand(N, -1, -1).contiguous()
    options = {"flip": {"vertical": 0.5}, "affine": {"rotation": 90.0, "shift": 0.5}}.get(name, {})
    found, of_pixels = change(name, images, masks, **options)
    assert not torch.equal(of_pixels, masks)
    assert (of_pixels.shape, of_pixels.dtype) == (masks.shape, masks.dtype)
    inside, outside = found[:, 2] > 1 - 1e-5, found[:, 2] < 1e-5
    assert bool((of_pixels[outside] == IGNORED).all())
    assert bool(outside.any()) == (name in ("crop", "affine", "perspective"))
    for channel, value in enumerate((of_pixels // COLUMNS, of_pixels % COLUMNS)):
        assert float((found[:, channel] - value)[inside].abs().max()) < 0.501, "the nearest pixel"
    alone, none = change(name, images, None, **options)
    assert none is None
    assert torch.equal(alone, found), "masks need no random numbers of their own"


def test_targets_of_pixels_and_images_move_in_training(tmp_path: Path) -> None:
    shapes = {"name": "shapes", "images": 6, "test_images": 2, "size": 16}
    unet = {"name": "unet", "channels": 2, "depth": 1}
    both = {"dataset": shapes, "augmentations": [{"name": "flip", "probability": 1.0}, "noise"]}
    plan = planned(architecture=unet, **both)
    loaded = plan.load()
    flip = plan.recipe.augmentations[0].on(loaded)
    inputs, masks = loaded["train"].batch(torch.arange(6))
    assert isinstance(inputs, Tensor)
    assert isinstance(masks, Tensor)
    mirrored, moved_masks = flip(inputs, masks, stream())
    assert torch.equal(mirrored, inputs.flip(3))
    assert torch.equal(moved_masks, masks.flip(2))
    weights = torch.arange(6.0)
    moved_masks, kept = parted(flip(inputs, with_weights(masks, weights), stream())[1])
    assert torch.equal(moved_masks, masks.flip(2))
    assert kept is weights

    given_back = {"task": "reconstruction", "loss": "mse", "metrics": []}
    code = {"name": "autoencoder", "hidden": [4], "code": 2}
    plan = planned(architecture=code, **both | given_back)
    flip, noise = (augment.on(loaded) for augment in plan.recipe.augmentations)
    mirrored, targets = flip(inputs, inputs, stream())
    assert torch.equal(mirrored, inputs.flip(3))
    assert torch.equal(targets, inputs.flip(3))
    assert noise(inputs, inputs, stream())[1] is inputs, "noise is to be taken away"


# ------------------------------------------------------------------------ vectors


def test_a_feature_that_is_dropped_has_the_mean_of_training(tmp_path: Path) -> None:
    dropped = {"name": "feature_dropout", "probability": 0.3}
    rows: dict[str, Any] = {"dataset": {"name": "line", "points": 400}, "loss": "mse", "metrics": []}
    plan = planned(own_parts(tmp_path), **rows, augmentations=[dropped])
    loaded = plan.load()
    inputs, targets = loaded["train"].batch(torch.arange(400))
    changed, kept = plan.recipe.augmentations[0](inputs, targets, stream())
    assert isinstance(inputs, Tensor)
    assert isinstance(changed, Tensor)
    assert kept is targets
    is_gone = changed != inputs
    assert float(is_gone.float().mean()) == pytest.approx(0.3, abs=0.04)
    assert len(is_gone.unique(dim=0)) == 8, "each feature by itself"
    mean = loaded["train"].raw().mean(0).expand(400, 3)
    torch.testing.assert_close(loaded.preprocessing.undone(changed)[is_gone], mean[is_gone])
    with pytest.raises(ConfigError, match="feature_dropout is for inputs of vectors, but those of dots are"):
        softmax = {"dataset": "dots", "architecture": "softmax_scratch"}
        planned(own_parts(tmp_path), **softmax, augmentations=["feature_dropout"])


def test_scaling_multiplies_all_of_an_example_by_one_factor() -> None:
    inputs = 1 + torch.rand(500, 4, generator=stream())
    factors = change("scaling", inputs, spread=0.3) / inputs
    torch.testing.assert_close(factors, factors[:, :1].expand(-1, 4))
    assert 0.7 <= float(factors.min()) < 0.71 < 1.29 < float(factors.max()) <= 1.3001
    assert float(factors.mean()) == pytest.approx(1, abs=0.02)
    with pytest.raises(ValueError, match="whole numbers"):
        change("scaling", torch.arange(6).view(2, 3))
