"""Images that are stored larger than the model gets them: parts in training, centres everywhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from small_runs import differences, outcome, planned
from torch import Tensor

from dlrun.augmentations.crop import crop
from dlrun.augmentations.random_resized_crop import resized
from dlrun.data.examples import Data, NewInputs
from dlrun.data.torchvision_import import import_torchvision
from dlrun.dataset.image_folder import image_folder
from dlrun.errors import UserError
from dlrun.run_folders.run import Run
from dlrun.training.augmentation import Augmentation, training_split
from dlrun.training.plan import Plan

STORED, SIZE = (14, 16), (8, 10)
CENTRE = (slice(None), slice(None), slice(3, 11), slice(3, 13))
CPU = torch.device("cpu")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """20 images in two classes, of random colours in squares of 2×2 pixels."""
    stream = torch.Generator().manual_seed(0)
    for number in range(20):
        pixels = torch.randint(0, 256, (7, 8, 3), generator=stream, dtype=torch.uint8)
        pixels = pixels.repeat_interleave(2, 0).repeat_interleave(2, 1)
        path = tmp_path / "photos" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.numpy()).save(path)
    return tmp_path / "photos"


def data_of(photos: Path, **options: Any) -> Data:
    return image_folder(photos.parent / "data", path=str(photos), **options)


def plan_of(photos: Path, *augmentations: object, **options: Any) -> Plan:
    dataset = {
        "name": "image_folder",
        "path": str(photos),
        "size": [*SIZE],
        "store_size": [*STORED],
    } | options
    linear = {"name": "linear", "flatten": True}
    return planned(
        data_dir=photos.parent / "data", dataset=dataset, architecture=linear, augmentations=[*augmentations]
    )


def test_the_model_gets_the_centre_of_what_is_stored(photos: Path) -> None:
    larger = data_of(photos, size=[*STORED]).read()
    data = data_of(photos, size=[*SIZE], store_size=[*STORED])
    assert data.input_shape == (3, *SIZE)
    for name, examples in data.read().items():
        everything = torch.arange(len(examples))
        whole = larger[name].raw(everything)
        assert isinstance(whole, Tensor)
        assert torch.equal(examples.raw(everything), whole[CENTRE])
    assert data.read_new is not None
    assert data.read_labelled is not None
    [new] = data.read_new(photos)
    judged = data.read_labelled(photos)
    assert isinstance(new, NewInputs)
    assert isinstance(new.inputs, Tensor)
    assert new.inputs.shape == (20, 3, *SIZE)
    assert torch.equal(judged.raw(torch.arange(20)), new.inputs)
    same = data_of(photos, size=8, store_size=8).read()["train"]
    assert same.stored is None, "there is nothing around it"


def test_a_stored_size_that_is_smaller_is_refused(photos: Path) -> None:
    with pytest.raises(UserError, match="store_size is 6, but the model gets 8×10 pixels of it") as refused:
        data_of(photos, size=[8, 10], store_size=6)
    assert refused.value.fix == "write store_size: 11, or a smaller size"
    with pytest.raises(UserError, match=r"store_size is \[20, 9\], but"):
        data_of(photos, size=[8, 10], store_size=[20, 9])
    for size in ([1, 2, 3], 4097):
        with pytest.raises(UserError, match=r"store_size is .*, but m"):
            data_of(photos, size=8, store_size=size)


def test_a_crop_is_any_window_of_what_is_stored_and_of_the_padding() -> None:
    images = torch.arange(1.0, 1 + 2 * 7 * 6).view(2, 1, 7, 6)
    for padding in (0, 2):
        padded = torch.nn.functional.pad(images, [padding] * 4)
        windows = {
            tuple(padded[0, 0, y : y + 4, x : x + 5].flatten().tolist())
            for y in range(4 + 2 * padding)
            for x in range(2 + 2 * padding)
        }
        many = images[:1].expand(1200, -1, -1, -1)
        found, _ = crop(many, None, torch.Generator().manual_seed(0), (4, 5), padding=padding)
        assert {tuple(image.flatten().tolist()) for image in found} == windows


def test_a_part_of_what_is_stored_is_resized_as_torchvision_does() -> None:
    """Smoothed where its pixels become fewer, and enlarged where they become more."""
    import_torchvision()
    import torchvision.transforms.v2.functional as theirs

    stream = torch.Generator().manual_seed(0)
    images = torch.rand(12, 3, 40, 50, generator=stream)
    height, width = (torch.randint(3, side, (12,), generator=stream).float() for side in (41, 51))
    top = ((40 - height) * torch.rand(12, generator=stream)).floor()
    left = ((50 - width) * torch.rand(12, generator=stream)).floor()
    masks = torch.arange(40 * 50).view(1, 40, 50).expand(12, -1, -1)
    found, moved = resized(images, masks, (17, 13), top, left, height, width)
    assert moved is not None
    assert moved.shape == (12, 17, 13)
    for i, image in enumerate(images):
        y, x, rows, columns = (int(each[i]) for each in (top, left, height, width))
        expected = theirs.resized_crop(image, y, x, rows, columns, [17, 13], antialias=True)
        torch.testing.assert_close(found[i], expected, rtol=0, atol=1e-5)
        middle = (moved[i, 8, 6] // 50, moved[i, 8, 6] % 50)
        assert abs(float(middle[0]) - y - rows / 2 + 0.5) <= 0.5
        assert abs(float(middle[1]) - x - columns / 2 + 0.5) <= 0.5


@pytest.mark.parametrize("of_stored", [True, False])
def test_training_sees_parts_of_what_is_stored_if_an_augmentation_takes_them(
    of_stored: bool, photos: Path
) -> None:
    """And then those before it change all of the stored image, those behind it the part."""
    cropping: list[object] = [{"name": "crop", "padding": 0}] if of_stored else []
    plan = plan_of(photos, "colour_jitter", *cropping, "flip", {"name": "noise", "sd": 0.0})
    loaded = plan.load()
    changes = [change.on(loaded) for change in plan.recipe.augmentations]
    split = training_split(loaded, changes)
    indices = torch.arange(len(split)).unsqueeze(0)
    inputs, targets = split.batch(indices)
    assert isinstance(inputs, Tensor)
    assert inputs.shape[2:] == (3, *(STORED if of_stored else SIZE))
    assert torch.equal(split.targets, loaded["train"].targets)
    if of_stored:
        centres, _ = loaded["train"].batch(indices)
        assert torch.equal(inputs[0][CENTRE], centres[0]), "one preprocessing for both"
    augment = Augmentation(changes, [0], CPU, epochs=1)
    augment.begin(1)
    changed, _ = augment(inputs, targets)
    assert isinstance(changed, Tensor)
    assert changed.shape[2:] == (3, *SIZE)


def test_a_reconstruction_gives_back_the_part_that_it_was_shown(photos: Path) -> None:
    code = {"name": "autoencoder", "hidden": [4], "code": 2}
    plan = planned(
        data_dir=photos.parent / "data",
        dataset={"name": "image_folder", "path": str(photos), "size": [*SIZE], "store_size": [*STORED]},
        architecture=code,
        task="reconstruction",
        loss="mse",
        metrics=[],
        augmentations=["random_resized_crop"],
    )
    loaded = plan.load()
    changes = [change.on(loaded) for change in plan.recipe.augmentations]
    augment = Augmentation(changes, [0], CPU, epochs=1)
    augment.begin(1)
    inputs, targets = augment(*training_split(loaded, changes).batch(torch.arange(5).unsqueeze(0)))
    assert isinstance(inputs, Tensor)
    assert inputs.shape == (1, 5, 3, *SIZE)
    assert torch.equal(inputs, targets)


CONFIG = """\
seeds: [0, 1]
threads: 1
dataset: {name: image_folder, path: PATH, size: 8, store_size: 14, valid_fraction: 0.25}
augmentations: [random_resized_crop, flip, trivial_augment]
architecture: {name: cnn, channels: [4], kernel_size: 3, padding: 1}
loss: cross_entropy
optimizer: {name: adam, lr: 1e-2}
epochs: 2
batch_size: 4
metrics: [accuracy]
plots: [augmented]
"""


def test_runs_on_stored_images_resume_evaluate_and_predict(
    dlrun: Callable[..., Any],
    write: Callable[[str, str], Path],
    photos: Path,
    runs_dir: Path,
    tmp_path: Path,
) -> None:
    data, config = (
        ("--data-dir", tmp_path / "data"),
        write("stored.yaml", CONFIG.replace("PATH", str(photos))),
    )
    for words in (["unbroken"], ["paused", "--stop-after", "1"]):
        done = dlrun("train", config, "--name", *words, *data)
        assert done.code == 0, done.err
    assert dlrun("resume", "paused", *data).code == 0
    unbroken, paused = (outcome(Run(runs_dir / f"{name}-001")) for name in ("unbroken", "paused"))
    assert not differences(unbroken, paused)
    assert (runs_dir / "unbroken-001/plots/augmented.png").exists()
    evaluated = dlrun("eval", "unbroken", "--split", "valid", *data)
    assert "exactly as recorded at training: loss, accuracy" in evaluated.out
    assert dlrun("predict", "unbroken", photos / "cat", *data).code == 0
    refused = dlrun("resume", "paused", "epochs=3", "dataset.store_size=16", *data)
    assert refused.code == 2
    assert "dataset.store_size" in refused.err
