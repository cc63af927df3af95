"""Policies have the operations, the magnitudes and the frequencies of torchvision's, each image by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import own_parts, planned
from torch import Tensor

from dlrun.augmentations.auto_augment import POLICIES, pairs_of
from dlrun.blocks import chosen_examples
from dlrun.blocks.blends import dirichlets
from dlrun.blocks.draws import integers, signs
from dlrun.blocks.places import IGNORED
from dlrun.blocks.policies import CHANGES, MOVES, NO_AMOUNT, Space, operated, space, usual_space
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.data.torchvision_import import import_torchvision
from dlrun.errors import UserError

PARTS = Parts()
NAMES = ["trivial_augment", "rand_augment", "auto_augment", "augmix"]
THEIRS = {
    "identity": "Identity",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateX",
    "translate_y": "TranslateY",
    "rotate": "Rotate",
    "brightness": "Brightness",
    "saturation": "Color",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "posterise": "Posterize",
    "solarise": "Solarize",
    "autocontrast": "AutoContrast",
    "equalise": "Equalize",
    "invert": "Invert",
}
N, ROWS, COLUMNS = 31, 21, 27
EVERY = usual_space(ROWS, COLUMNS) | {"invert": NO_AMOUNT}
Recorded = list[tuple[Tensor, Tensor, Tensor]]  # which, magnitude and result of each call


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def levels(n: int = N) -> Tensor:
    return torch.randint(0, 256, (n, 3, ROWS, COLUMNS), generator=stream(), dtype=torch.uint8)


def recorded(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Callable[..., Any], Recorded]:
    """An augmentation, and what it lets `operated` do."""
    augment, calls = PARTS.find("augmentations", name), []

    def recording(pixels: Tensor, masks: Tensor | None, *given: Any) -> tuple[Tensor, Tensor | None]:
        found = operated(pixels, masks, *given)
        calls.append((given[1], given[2], found[0]))
        return found

    monkeypatch.setitem(augment.__globals__, "operated", recording)
    return augment, calls


# ------------------------------------------------------------------------ torchvision's values


@pytest.mark.parametrize(
    ("theirs", "ours", "bins"),
    [
        ("RandAugment", usual_space(ROWS, COLUMNS), 31),
        ("AutoAugment", EVERY, 10),
        ("TrivialAugmentWide", space(0.99, (32.0, 32.0), 135.0, 0.99, (8, 2)), 31),
        ("AugMix", space(0.3, (COLUMNS / 3, ROWS / 3), 30.0, 0.9, (4, 0)), 10),
    ],
)
def test_an_operation_of_a_magnitude_has_the_values_of_torchvision(
    theirs: str, ours: Space, bins: int
) -> None:
    import_torchvision()
    from torchvision.transforms import v2

    policy = getattr(v2, theirs)(interpolation=v2.InterpolationMode.BILINEAR)
    count = torch.arange(0, bins, 3)
    images, way = levels(len(count)), 2.0 * (count % 2) - 1
    for number, name in enumerate(ours):
        which = torch.full_like(count, number)
        found, none = operated(images / 255, None, ours, which, count / (bins - 1), way)
        assert none is None
        # Those that look at levels do so exactly with whole ones; others would be rounded there.
        is_whole = name in ("posterise", "solarise", "equalise", "invert")
        given = images if is_whole else images / 255
        if name == "identity" and theirs in ("AutoAugment", "AugMix"):
            assert torch.equal(found, given)  # which they do not draw
            continue
        magnitudes, is_signed = policy._AUGMENTATION_SPACE[THEIRS[name]]
        assert is_signed == (ours[name] != NO_AMOUNT and name not in ("posterise", "solarise"))
        amounts = magnitudes(bins, ROWS, COLUMNS)
        for own, image, level, sign in zip(found, given, count.tolist(), way.tolist(), strict=True):
            amount = 0.0 if amounts is None else float(amounts[level]) * (sign if is_signed else 1.0)
            if name == "solarise":
                amount = 1 - level / (bins - 1)  # in float32 theirs is not at a level where it should be
            elif name in ("translate_x", "translate_y"):
                amount = round(amount, 4)  # their 16 pixels are 15.999999
            expected = policy._apply_image_or_video_transform(
                image, THEIRS[name], amount, interpolation=policy.interpolation, fill={torch.Tensor: None}
            )
            expected = expected / 255 if is_whole else expected
            torch.testing.assert_close(own, expected, rtol=0, atol=2e-5, msg=f"{name} of {level}")


@pytest.mark.parametrize("policy", POLICIES)
def test_the_pairs_of_autoaugment_are_those_of_torchvision(policy: str) -> None:
    import_torchvision()
    from torchvision.transforms.v2 import AutoAugment, AutoAugmentPolicy

    theirs = AutoAugment(AutoAugmentPolicy(policy))._policies
    found = [tuple((THEIRS[name], share, level) for name, share, level in pair) for pair in pairs_of(policy)]
    assert found == [tuple((name, share, level or 0) for name, share, level in pair) for pair in theirs]


# ------------------------------------------------------------------------ as often as they say


def test_operations_are_drawn_alike_and_pairs_as_often_as_their_probabilities(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n = 7000
    images = torch.full((n, 3, 1, 1), 0.5)
    for name, options, calls in (("trivial_augment", {}, 1), ("rand_augment", {"operations": 3}, 3)):
        augment, made = recorded(name, monkeypatch)
        options = PARTS.part("augmentations", name).defaults | options
        augment(images, None, stream(), **options)
        assert len(made) == calls
        for which, magnitude, _ in made:
            counts = which.bincount(minlength=14)
            assert len(counts) == 14
            assert 400 < int(counts.min()) < 500 < int(counts.max()) < 600
            if name == "trivial_augment":
                at = (30 * magnitude).round().long().bincount(minlength=31)
                assert 150 < int(at.min()) < n / 31 < int(at.max()) < 300
            else:
                torch.testing.assert_close(magnitude, torch.full((n,), 0.3))

    augment, made = recorded("auto_augment", monkeypatch)
    numbers = list(EVERY)
    for policy in POLICIES:
        made.clear()
        augment(images, None, stream(), policy=policy)
        assert len(made) == 2
        for k, (which, magnitude, _) in enumerate(made):
            expected: Counter[tuple[str, int]] = Counter()
            for pair in pairs_of(policy):
                name, share, level = pair[k]
                expected[name, level] += share / 25
            found = Counter(zip(which.tolist(), (9 * magnitude).round().int().tolist(), strict=True))
            found.pop((-1, 0), None)
            shares = {(numbers[i], level): count / n for (i, level), count in found.items()}
            for each in expected.keys() | shares.keys():
                assert shares.get(each, 0) == pytest.approx(expected[each], abs=0.017), (policy, each)
    assert signs(4000, stream()).unique().tolist() == [-1, 1]
    assert abs(float(signs(4000, stream()).mean())) < 0.05


def test_augmix_blends_chains_of_one_to_three_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 3000
    images, options = (
        torch.rand(n, 3, 2, 2, generator=stream()),
        PARTS.part("augmentations", "augmix").defaults,
    )
    augment, made = recorded("augmix", monkeypatch)
    found, _ = augment(images, None, stream(), **options | {"alpha": 1e6, "severity": 4})  # equal shares
    assert len(made) == 3 * 3
    chains = torch.stack([result for _, _, result in made[2::3]])
    torch.testing.assert_close(found, images / 2 + chains.mean(0) / 2, rtol=0, atol=2e-3)
    for k, (which, magnitude, _) in enumerate(made):
        assert float((which < 0).float().mean()) == pytest.approx((k % 3) / 3, abs=0.03)
        counts = which[which >= 0].bincount(minlength=13)
        assert len(counts) == 13
        assert int(counts.min()) > 0.6 * int(counts.sum()) / 13
        assert (9 * magnitude).round().unique().tolist() == [0, 1, 2, 3]

    made.clear()
    fewer = options | {"mixture_width": 2, "chain_depth": 4, "all_operations": False}
    augment(images, None, stream(), **fewer)
    assert len(made) == 2 * 4
    assert {len(which.bincount()) for which, _, _ in made} == {9}
    shares = dirichlets(1.0, 3, 4000, stream())
    torch.testing.assert_close(shares.sum(0), torch.ones(4000))
    assert shares.mean(1).tolist() == pytest.approx([1 / 3] * 3, abs=0.02)
    assert shares.var(1).tolist() == pytest.approx([1 / 18] * 3, abs=0.005)


# ------------------------------------------------------------------------ each image by itself


@pytest.mark.parametrize("counts", [True, False], ids=["on the CPU", "on an accelerator"])
def test_an_image_is_changed_alike_alone_and_in_a_batch(
    counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, and where an accelerator computes every operation of every image too."""
    n = 4 * len(EVERY)
    images, draws = levels(n) / 255, stream(1)
    which, magnitude = torch.arange(n) % len(EVERY), integers(31, n, draws) / 30
    sign = signs(n, draws)
    monkeypatch.setattr(chosen_examples, "can_count", lambda device: counts)
    together, _ = operated(images, None, EVERY, which, magnitude, sign)
    monkeypatch.undo()
    for i in range(n):
        one = slice(i, i + 1)
        alone, _ = operated(images[one], None, EVERY, which[one], magnitude[one], sign[one])
        assert torch.equal(alone[0], together[i]), list(EVERY)[int(which[i])]
    nothing, _ = operated(images, None, EVERY, torch.full((n,), -1), magnitude, sign)
    assert torch.equal(nothing, images)


@pytest.mark.parametrize("name", MOVES)
def test_masks_move_with_the_pixels_and_with_nothing_else(name: str) -> None:
    """Each pixel has its row and its column as its colours, and both as its class."""
    row, column = torch.meshgrid(torch.arange(ROWS), torch.arange(COLUMNS), indexing="ij")
    image = torch.stack([row / ROWS, column / COLUMNS, torch.ones(ROWS, COLUMNS)])
    images, masks = image.expand(N, -1, -1, -1), (row * COLUMNS + column).expand(N, -1, -1)
    which, magnitude = torch.full((N,), list(EVERY).index(name)), torch.arange(N) / N
    found, moved = operated(images, masks, EVERY, which, magnitude, signs(N, stream()))
    assert moved is not None
    assert moved.dtype == masks.dtype
    assert not torch.equal(moved[-1], masks[-1])
    inside, outside = found[:, 2] > 1 - 1e-4, found[:, 2] < 1e-4
    assert bool(outside.any())
    assert bool((moved[outside] == IGNORED).all())
    for channel, (value, side) in enumerate(((moved // COLUMNS, ROWS), (moved % COLUMNS, COLUMNS))):
        assert float((side * found[:, channel] - value)[inside].abs().max()) < 0.51, "the nearest pixel"
    brighter = torch.full((N,), list(EVERY).index("brightness"))
    _, kept = operated(images, masks, EVERY, brighter, magnitude, torch.ones(N))
    assert kept is not None
    assert torch.equal(kept, masks)


def test_grey_images_have_every_operation_but_saturation() -> None:
    grey = torch.rand(N, 1, ROWS, COLUMNS, generator=stream())
    for number, name in enumerate(EVERY):
        which = torch.full((N,), number)
        found, _ = operated(grey, None, EVERY, which, torch.full((N,), 0.7), torch.ones(N))
        assert found.shape == grey.shape
        assert torch.equal(found, grey) == (name in ("identity", "saturation"))
    assert {*EVERY} == {"identity", *MOVES, *CHANGES}


# ------------------------------------------------------------------------ what they are not for


def test_policies_are_refused_where_they_make_no_sense(tmp_path: Path) -> None:
    shapes = {"name": "shapes", "images": 6, "test_images": 2, "size": 16}
    unet = {"name": "unet", "channels": 2, "depth": 1}
    with pytest.raises(ConfigError, match=r"augmix does not take inputs of .*masks lie over none of them"):
        planned(dataset=shapes, architecture=unet, augmentations=["augmix"])
    for name in NAMES[:3]:
        assert planned(dataset=shapes, architecture=unet, augmentations=[name]).recipe.augmentations
    code = {"name": "autoencoder", "hidden": [4], "code": 2}
    given_back = {
        "dataset": shapes,
        "architecture": code,
        "task": "reconstruction",
        "loss": "mse",
        "metrics": [],
    }
    for name in NAMES:
        with pytest.raises(ConfigError, match=f"{name} changes colours and moves pixels.*; choose .* affine"):
            planned(**given_back, augmentations=[name])
    assert planned(**given_back, augmentations=["equalise", "perspective"]).recipe.augmentations
    for name in NAMES:
        with pytest.raises(ConfigError, match=f"{name} is for inputs of images, but those of spiral are 2"):
            planned(augmentations=[name])
        augment, options = PARTS.find("augmentations", name), PARTS.part("augmentations", name).defaults
        with pytest.raises(ValueError, match="4 channels, which are neither grey nor red, green and blue"):
            augment(torch.rand(2, 4, 6, 6), None, stream(), **options)
    dots = {"dataset": "dots", "architecture": "softmax_scratch"}
    assert planned(own_parts(tmp_path), **dots, augmentations=NAMES).recipe.augmentations, "grey ones too"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("v2.RandAugment", "rand_augment"),
        ("TrivialAugmentWide", "trivial_augment"),
        ("AutoAugment", "auto_augment"),
        ("AugMix", "augmix"),
        ("rand-m9-mstd0.5-inc1", "rand_augment"),
        ("augmix-m5-w4-d2", "augmix"),
        ("original-mstd0.5", "auto_augment"),
    ],
)
def test_the_names_of_torchvision_and_timm_lead_to_dlruns(theirs: str, ours: str) -> None:
    with pytest.raises(UserError, match=f"dlrun's name is {ours} "):
        PARTS.part("augmentations", theirs)
