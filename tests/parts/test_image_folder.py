"""A folder of images as a dataset: decoded once, split for good, refused where it is not sound."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import signal
import time
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from small_runs import child, differences, outcome
from torch import Tensor

from dlrun.config.loading import load_run_config
from dlrun.config.registry import Parts
from dlrun.data.examples import Data, Examples, NewInputs
from dlrun.data.image_files import decoded_images as _decoded
from dlrun.data.image_files import image_examples
from dlrun.data.image_files.reading import Picture
from dlrun.data.loaded import Loaded
from dlrun.dataset.image_folder import image_folder
from dlrun.errors import RunFailed, UserError
from dlrun.run_folders.run import Run
from dlrun.system import locks as _alone
from dlrun.system.files import size_text
from dlrun.training.opening import open_plan

CPU = torch.device("cpu")
COLOURS = {"cat": (200, 30, 30), "dog": (30, 200, 30), "owl": (30, 30, 200)}


def image(path: Path, colour: tuple[int, int, int], number: int = 0) -> Path:
    """A small image of one colour but for the pixel in its middle, which says the number."""
    picture = Image.new("RGB", (12 + number % 2 * 2, 12), colour)
    picture.putpixel((picture.width // 2, 6), (number, 0, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


def fill(folder: Path, counts: dict[str, int], first: int = 0) -> Path:
    """Images of each class in a folder of its own, numbered from `first`."""
    for name, count in counts.items():
        for number in range(first, first + count):
            image(folder / name / f"{number:03d}.png", COLOURS[name], number)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with 10 cats, 10 dogs and 5 owls."""
    return fill(tmp_path / "photos", {"owl": 5, "cat": 10, "dog": 10})


def data_of(photos: Path, known: dict[str, Any] | None = None, **options: Any) -> Data:
    options = {"path": str(photos), "size": 12} | options
    return image_folder(photos.parent / "data", known, **options)


def read(photos: Path, known: dict[str, Any] | None = None, **options: Any) -> dict[str, Examples]:
    return dict(data_of(photos, known, **options).read())


def pixels(examples: Examples) -> Tensor:
    return torch.cat([*examples.pieces()])


def numbers(examples: Examples) -> list[int]:
    """The numbers of the images."""
    return pixels(examples)[:, 0, 6, 6].tolist()


# ------------------------------------------------------------------------ classes and splits


def test_every_folder_is_a_class_and_its_images_are_the_examples(photos: Path) -> None:
    data = data_of(photos)
    assert (data.task, data.input_shape) == ("classification", (3, 12, 12))
    assert data.splits == ("train", "valid", "test")
    assert data.classes == ("cat", "dog", "owl"), "sorted"
    splits = data.read()
    for examples in splits.values():
        for label, shown in zip(examples.targets.tolist(), pixels(examples), strict=True):
            assert tuple(shown[:, 0, 0].tolist()) == COLOURS[data.classes[label]]
    assert sum(map(len, splits.values())) == 25


@pytest.mark.parametrize("rule", ["hash", "drawn"])
def test_a_test_split_is_taken_of_each_class_where_there_is_none(photos: Path, rule: str) -> None:
    options = {"test_fraction": 0.4, "valid_fraction": 0.0, "split_rule": rule}
    splits = read(photos, **options)
    assert torch.bincount(splits["test"].targets).tolist() == [4, 4, 2]
    assert torch.bincount(splits["train"].targets).tolist() == [6, 6, 3]
    rows = torch.cat([examples.rows for examples in splits.values() if examples.rows is not None])
    assert rows.sort().values.tolist() == list(range(25)), "each image is in one of the two"
    same, other = read(photos, **options), read(photos, **options, seed=1)
    assert not differences(same["test"].rows, splits["test"].rows)
    assert differences(other["test"].rows, splits["test"].rows)
    options["test_fraction"] = 0.0
    assert list(read(photos, **options)) == ["train"]
    assert data_of(photos, **options).splits == ("train",)


@pytest.mark.parametrize("rule", ["hash", "drawn"])
def test_a_validation_split_leaves_the_test_split_as_it_is(photos: Path, rule: str) -> None:
    loaded = Loaded(data_of(photos, valid_fraction=0.25, split_rule=rule), CPU)
    assert [len(loaded[name]) for name in ("train", "valid", "test")] == [15, 5, 5]
    without = Loaded(data_of(photos, valid_fraction=0.0, split_rule=rule), CPU)
    assert differences(loaded["test"].raw(), without["test"].raw()) == []
    every = torch.cat([loaded[name].raw() for name in ("train", "valid", "test")]).flatten(1)
    assert len(every.unique(dim=0)) == 25


def names_of(data: Data) -> dict[str, set[str]]:
    """The names of the images of each split."""
    assert data.name_of
    return {
        split: {data.name_of(number) for number in examples.origin.tolist()}
        for split, examples in data.read().items()
        if examples.origin is not None
    }


def test_images_that_are_added_move_no_other(photos: Path, tmp_path: Path) -> None:
    before = names_of(first := data_of(photos))
    known = json.loads(json.dumps(first.known))
    for name in COLOURS:
        for number in range(40):
            image(photos / name / f"{'0a'[number % 2]}{number}.png", COLOURS[name], 100 + number)
    again = names_of(data_of(photos, known))
    assert all(before[split] <= again[split] for split in before)
    assert 10 < len(again["test"]) < 50, "the new ones are in all of them"
    assert names_of(data_of(photos.rename(tmp_path / "elsewhere"), known)) == again


def test_a_picture_with_another_name_is_where_its_equals_are(photos: Path) -> None:
    before = names_of(first := data_of(photos))
    known = json.loads(json.dumps(first.known))
    for number in range(10):
        shutil.copy(photos / "cat" / f"{number:03d}.png", photos / "cat" / f"{'0z'[number % 2]}{number}.png")
    data = data_of(photos, known)
    after, splits = names_of(data), data.read()
    for number in range(10):
        one, other = f"cat/{number:03d}.png", f"cat/{'0z'[number % 2]}{number}.png"
        assert all((one in names) == (other in names) for names in after.values())
    keys = [set(each.keys.tolist()) for each in splits.values() if each.keys is not None]
    assert sum(map(len, keys)) == len(set.union(*keys)) == 25
    assert before["train"] <= after["train"], "what was trained on is never tested on"


def test_equal_pictures_are_torn_apart_where_there_are_no_others_and_it_is_said(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for number in range(10):
            image(tmp_path / "same" / name / f"{number}.png", COLOURS[name])
    data = data_of(tmp_path / "same")
    assert {name: len(some) for name, some in data.read().items()} == {"train": 14, "valid": 2, "test": 4}
    assert [note.split(":")[0] for note in data.notes] == [
        "2 of 2 valid images are in train too, pixel for pixel",
        "4 of 4 test images are in train too, pixel for pixel",
    ]


def test_the_key_of_an_image_is_that_of_its_pixels_and_its_class(photos: Path, tmp_path: Path) -> None:
    def keys(folder: Path) -> list[int]:
        found = read(folder, test_fraction=0.0, valid_fraction=0.0)["train"].keys
        assert found is not None
        return found.tolist()

    own = keys(photos)
    assert len(set(own)) == 25
    other = tmp_path / "other"
    for name in COLOURS:
        (other / name).mkdir(parents=True)
        for number, path in enumerate(sorted((photos / name).iterdir())):
            Image.open(path).save(other / name / f"{99 - number}.bmp")  # other bytes, other order
    assert sorted(keys(other)) == sorted(own)
    (other / "dog").rename(other / "dogs")
    assert len(set(keys(other)) & set(own)) == 15


def test_an_image_is_validated_on_unless_the_folder_says_otherwise(tmp_path: Path, photos: Path) -> None:
    assert {name: len(some) for name, some in read(photos).items()} == {"train": 17, "valid": 3, "test": 5}
    shutil.move(photos, tmp_path / "in" / "train")
    fill(tmp_path / "in" / "test", {"owl": 5, "cat": 10, "dog": 10}, first=50)
    found = read(tmp_path / "in")
    assert {name: len(some) for name, some in found.items()} == {"train": 22, "test": 25, "valid": 3}
    assert min(numbers(found["test"])) == 50
    shutil.move(tmp_path / "in" / "test", tmp_path / "in" / "Dev")
    found = read(tmp_path / "in")
    assert {name: len(some) for name, some in found.items()} == {"train": 25, "valid": 25}, (
        "no fifth of train"
    )
    assert data_of(tmp_path / "in").splits == ("train", "valid")
    assert len(read(tmp_path / "in", test_fraction=0.2)["test"]) == 5, "but where it is asked for"


def test_the_images_of_a_folder_in_a_class_stay_together_where_asked_for(tmp_path: Path) -> None:
    people = tmp_path / "people"
    for person in range(12):
        for number in range(5):
            name = "cat" if person % 2 else "dog"
            image(people / name / f"person{person}" / f"{number}.png", COLOURS[name], 20 * person + number)
    torn, whole = data_of(people), data_of(people, group="folder")

    def persons(data: Data) -> list[set[str]]:
        return [{name.rsplit("/", 1)[0] for name in names} for names in names_of(data).values()]

    assert sum(map(len, persons(torn))) > 12
    [note] = torn.notes
    assert "in train and in valid or test: " in note
    assert "person" in note
    assert "dataset.group=folder" in note
    assert sum(map(len, persons(whole))) == 12 == len(set.union(*persons(whole)))
    assert min(map(len, persons(whole))) > 0
    assert whole.notes == []


@pytest.mark.parametrize(
    "names",
    [("train", "valid", "test"), ("Training", "val", "Testing"), ("TRAIN", "Validation", "eval"),
     ("training", "dev", "Evaluation")],
)  # fmt: skip
def test_folders_of_splits_are_the_splits(tmp_path: Path, names: tuple[str, str, str]) -> None:
    photos = tmp_path / "photos"
    for first, (name, count) in enumerate(zip(names, (6, 2, 3), strict=True)):
        fill(photos / name, {"cat": count, "dog": count + 1}, first=20 * first)
    data = data_of(photos, test_fraction=0.5, valid_fraction=0.5)
    assert data.splits == ("train", "valid", "test")
    assert data.classes == ("cat", "dog")
    assert data.evaluation_split == "valid"
    loaded = Loaded(data, CPU)
    for first, (name, count) in enumerate({"train": 6, "valid": 2, "test": 3}.items()):
        assert torch.bincount(loaded[name].targets).tolist() == [count, count + 1]
        assert {number // 20 for number in numbers(data.read()[name])} == {first}


def test_a_class_may_be_named_train(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for name, colour in (("bus", COLOURS["cat"]), ("train", COLOURS["dog"]), ("test", COLOURS["owl"])):
        for number in range(5):
            image(photos / name / f"{number}.png", colour, number)
    assert data_of(photos).classes == ("bus", "test", "train")
    assert len(read(photos)["test"]) == 3


def test_test_images_beside_the_classes_are_tested_on(photos: Path) -> None:
    fill(photos / "test", {"cat": 2, "dog": 2, "owl": 2}, first=50)
    data = data_of(photos)
    assert (data.classes, data.notes) == (("cat", "dog", "owl"), [])
    assert {name: len(some) for name, some in data.read().items()} == {"train": 22, "test": 6, "valid": 3}
    assert [*Loaded(data, CPU).splits] == ["train", "valid", "test"]
    assert min(numbers(data.read()["test"])) == 50


def test_a_lone_folder_around_all_is_gone_into_and_said(tmp_path: Path) -> None:
    fill(tmp_path / "archive" / "flowers" / "Training", {"cat": 4, "dog": 4})
    fill(tmp_path / "archive" / "flowers" / "Testing", {"cat": 2, "dog": 2}, first=50)
    data = data_of(tmp_path / "archive")
    assert data.splits == ("train", "valid", "test")
    assert len(data.read()["test"]) == 4
    assert data.notes == [f"{tmp_path / 'archive'} holds the folder flowers alone, in which the images are"]


def test_what_lies_beside_classes_and_splits_is_named(tmp_path: Path, photos: Path) -> None:
    image(photos / "loose.png", COLOURS["cat"])
    (photos / "README").touch()
    data = data_of(photos)
    data.read()
    assert data.notes == ["2 files (README, loose.png) beside the folders are left out"]
    for name in ("train", "test"):
        fill(tmp_path / "in" / name, {"cat": 4, "dog": 4})
    image(tmp_path / "in" / "unlabelled" / "a.png", COLOURS["cat"])
    data = data_of(tmp_path / "in")
    assert len(data.read()["test"]) == 8
    assert data.notes == ["the folder unlabelled beside the splits is left out"]


def test_classes_are_in_the_order_of_the_numbers_in_their_names(tmp_path: Path) -> None:
    for name in ("class10", "class2", "Class1"):
        for number in range(3):
            image(tmp_path / "photos" / name / f"{number}.png", COLOURS["cat"], number)
    photos = tmp_path / "photos"
    assert data_of(photos).classes == ("Class1", "class2", "class10")
    earlier = data_of(photos, split_rule="drawn", valid_fraction=0.0)
    assert earlier.classes == ("Class1", "class10", "class2"), "a run of an earlier dlrun"
    assert data_of(photos, dict(earlier.known)).classes == earlier.classes, "the model's own order"


def test_a_name_is_the_same_whatever_system_wrote_its_accents(tmp_path: Path) -> None:
    found = []
    for form in ("NFC", "NFD"):
        photos = tmp_path / form
        for number in range(12):
            name = unicodedata.normalize(form, f"café {number}.png")
            image(photos / unicodedata.normalize(form, "crème") / name, COLOURS["cat"], number)
            image(photos / "dog" / name, COLOURS["dog"], number)
        data = data_of(photos)
        known = json.loads(json.dumps(data.known))
        found.append((data.classes, [sorted(numbers(some)) for some in data.read().values()]))
    assert found[0] == found[1]
    assert found[0][0] == ("crème", "dog")
    assert len(read(tmp_path / "NFC", known)["train"]) > 0, "a model of one reads the other"
    fill(tmp_path / "NFC", {"cat": 1})
    (tmp_path / "NFC" / unicodedata.normalize("NFD", "crème")).mkdir()
    with pytest.raises(UserError, match="two ways"):
        data_of(tmp_path / "NFC")


def test_links_to_classes_and_files_are_followed(tmp_path: Path, photos: Path) -> None:
    linked = tmp_path / "linked"
    (linked / "dog").mkdir(parents=True)
    (linked / "cat").symlink_to(photos / "cat")
    for path in (photos / "dog").iterdir():
        (linked / "dog" / path.name).symlink_to(path)
    assert torch.bincount(torch.cat([e.targets for e in read(linked).values()])).tolist() == [10, 10]


def test_a_path_is_looked_for_here_and_then_in_the_data_folder(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert image_folder(tmp_path / "data", path="photos").classes == ("cat", "dog", "owl")
    fill(tmp_path / "data" / "others", {"cat": 1, "dog": 1})
    assert image_folder(tmp_path / "data", path="others").classes == ("cat", "dog")
    with pytest.raises(UserError, match=r"there is no folder nowhere or .*data/nowhere"):
        image_folder(tmp_path / "data", path="nowhere")
    for path, said in (
        ("x" * 5000, "File name too long"),
        ("~nobody-of-that-name/x", "folder ~nobody"),
    ):
        with pytest.raises(UserError, match=said) as refused:
            image_folder(tmp_path / "data", path=path)
        assert max(map(len, refused.value.lines())) < 250


def test_a_size_that_no_image_can_be_brought_to_is_refused(photos: Path) -> None:
    for size in (4097, [1, 10**9]):
        with pytest.raises(UserError, match="may be 4,096 pixels at most"):
            image_folder(photos, path=str(photos), size=size)


def test_dlruns_own_files_never_become_a_class(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    for root in (photos, photos / "data", Path("data")):
        with pytest.raises(UserError, match="would become a class"):
            image_folder(root, path=".")


def test_images_become_the_size_and_the_colours_that_are_asked_for(photos: Path) -> None:
    assert data_of(photos, size=[8, 10], colour=False).input_shape == (1, 8, 10)
    examples = read(photos, size=[8, 10], colour=False)["train"]
    assert examples.inputs.shape == (25, 1, 8, 10)
    assert examples.inputs.dtype == torch.uint8
    with pytest.raises(UserError, match=r"\[height, width\]"):
        data_of(photos, size=[1, 2, 3])


def test_every_kind_of_file_is_read(tmp_path: Path) -> None:
    photos, exif = tmp_path / "photos", Image.Exif()
    exif[0x0112] = 6
    (photos / "all").mkdir(parents=True)
    picture = Image.linear_gradient("L").resize((40, 30))
    for name, mode, options in (
        ("a.png", "L", {}), ("b.JPG", "RGB", {"exif": exif}), ("c.webp", "RGBA", {}), ("d.bmp", "P", {}),
        ("e.jpeg", "CMYK", {}), ("f.png", "I;16", {}), ("g.png", "1", {}),
    ):  # fmt: skip
        picture.convert(mode).save(photos / "all" / name, **options)
    fill(photos, {"cat": 1})
    assert read(photos, test_fraction=0.0, valid_fraction=0.0)["train"].inputs.shape == (8, 3, 12, 12)


def grey(folder: Path, values: Callable[[int], np.ndarray], counts: dict[str, int]) -> Path:
    """Images of 16 or 32 bits of each class."""
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(values(number)).save(folder / name / f"{number:02d}.tif")
    return folder


def test_12_bits_in_16_are_256_levels_and_what_is_read_later_is_read_alike(tmp_path: Path) -> None:
    ramp = np.linspace(0, 4095, 144).reshape(12, 12).astype(np.uint16)
    photos = grey(tmp_path / "photos", lambda number: np.roll(ramp, number), {"a": 5, "b": 5})
    data = data_of(photos, colour=False)
    examples = data.read()["train"]
    assert len(pixels(examples).unique()) == 144
    assert data.notes == ["10 images of more than 8 bits: 0 to 4095 are read as 0 to 255"]
    known = json.loads(json.dumps(data.known))
    assert known["levels"] == [0.0, 4095.0]
    # A model keeps the range that it was trained on.
    grey(tmp_path / "new", lambda number: ramp // 2 + 100 * number, {"a": 2})
    later = data_of(photos, known, colour=False)
    [found] = new_of(later, tmp_path / "new")
    assert found.inputs[0].max() == 127
    assert later.read_labelled is not None
    assert torch.equal(pixels(later.read_labelled(tmp_path / "new")), found.inputs)
    assert torch.equal(pixels(later.read()["train"]), pixels(examples))
    assert len(kept(photos)) == 2, "the images of training are not decoded again"


def test_the_range_of_16_bits_is_measured_anew_stated_or_that_of_an_earlier_dlrun(tmp_path: Path) -> None:
    photos = grey(tmp_path / "photos", lambda n: np.full((12, 12), 790 + 10 * n, np.uint16), {"a": 6, "b": 6})
    options = {"colour": False, "valid_fraction": 0.0, "test_fraction": 0.0}
    assert pixels(read(photos, **options)["train"])[:6, 0, 0, 0].tolist() == [0, 51, 102, 153, 204, 255]
    stated = data_of(photos, value_range=[800.0, 820.0], **options)
    assert pixels(stated.read()["train"])[:6, 0, 0, 0].tolist() == [0, 0, 128, 255, 255, 255]
    assert stated.notes == [
        "12 images of more than 8 bits: 800 to 820 are read as 0 to 255",
        "6 images with values beyond that range, where they are cut off",
    ]
    earlier = read(photos, value_range=[0.0, 65535.0], **options)["train"]
    assert pixels(earlier)[:6, 0, 0, 0].tolist() == [3, 3, 3, 3, 3, 3]
    with pytest.raises(UserError, match="two values"):
        data_of(photos, value_range=[3.0])
    Image.fromarray(np.full((12, 12), 60000, np.uint16)).save(photos / "a" / "hot.tif")
    data = data_of(photos, **options)
    data.read()
    assert data.notes[1].startswith("nearly all values lie between 790 and 840, which is 0.08 % of the range")
    assert "dataset.value_range=[790,840]" in data.notes[1]


def test_of_8_bits_nothing_is_measured_and_32_bits_are_asked_for(photos: Path, tmp_path: Path) -> None:
    data = data_of(photos)
    data.read()
    assert (data.known["levels"], data.notes) == (None, [])
    new = grey(tmp_path / "new", lambda n: np.full((12, 12), 65535, np.uint16), {"a": 1}) / "a"
    Image.fromarray(np.ones((12, 12), np.float32)).save(new / "float.tif")
    [found] = new_of(data, new)
    assert found.inputs.float().mean() == 255
    assert list(found.refused) == [1]
    assert "black and white are unknown" in found.refused[1]
    assert data.notes == ["1 image of more than 8 bits: 0 to 65535 are read as 0 to 255"]


# ------------------------------------------------------------------------ what is refused


def damage(photos: Path, *names: str) -> None:
    for name in names:
        (photos / name).write_bytes(b"no image")


def test_an_image_that_cannot_be_read_is_refused_by_name(photos: Path) -> None:
    damage(photos, "cat/003.png", "owl/001.png")
    for _ in range(2):  # and again from what was decoded
        with pytest.raises(UserError, match=r"cat/003.png \(it is none of PNG, .*owl/001.png") as refused:
            read(photos)
        assert "2 of 25 images" in refused.value.what
        assert "unreadable=skip" in refused.value.fix


def test_images_that_cannot_be_read_are_left_out_and_counted_where_asked_for(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read(photos, test_fraction=0.0, valid_fraction=0.0)["train"]
    damage(photos, "cat/003.png", "dog/000.png", "dog/001.png", "owl/001.png")
    for again in (False, True):
        if again:
            monkeypatch.setattr(_decoded, "read_picture", lambda *a, **k: pytest.fail("it decodes again"))
        data = data_of(photos, unreadable="skip", test_fraction=0.0, valid_fraction=0.0)
        Loaded(data, CPU)  # what is read twice is said once
        found = data.read()["train"]
        Loaded(data, CPU)
        assert torch.bincount(found.targets).tolist() == [9, 8, 4]
        [note] = data.notes
        assert note.startswith(
            "4 of 25 images cannot be read and are left out (1 of 10 in cat, 2 of 10 in dog, 1 of 5 in owl): "
            "cat/003.png ("
        )
        assert note.endswith(", …")
        left = [row for row in range(25) if row not in (3, 10, 11, 21)]
        assert torch.equal(pixels(found), pixels(whole)[left])
    with pytest.raises(UserError, match="4 of 25"):
        read(photos)


def test_a_class_of_which_nothing_can_be_read_is_refused(photos: Path) -> None:
    damage(photos, *(f"owl/{number:03d}.png" for number in range(5)))
    with pytest.raises(UserError, match="no image of class owl in train"):
        read(photos, unreadable="skip")
    damage(photos, *(f"{name}/{number:03d}.png" for name in ("cat", "dog") for number in range(10)))
    with pytest.raises(UserError, match="no image of class cat in train"):
        read(photos, unreadable="skip")


def test_files_that_are_no_images_by_their_names_are_counted(photos: Path) -> None:
    (photos / "cat" / "notes.txt").touch()
    (photos / "dog" / "scan.xcf").touch()
    data = data_of(photos)
    assert sum(map(len, data.read().values())) == 25
    [note] = data.notes
    assert note.startswith("2 files are left out, whose names end in none of .png")
    assert note.endswith("cat/notes.txt, dog/scan.xcf")


def test_names_that_are_no_text_are_read_and_shown(photos: Path) -> None:
    image(photos / "cat" / "a.png", (9, 9, 9)).rename(os.fsdecode(os.fsencode(photos) + b"/cat/\xff.png"))
    assert sum(map(len, read(photos).values())) == 26
    Path(os.fsdecode(os.fsencode(photos) + b"/cat/\xfe.png")).write_bytes(b"")
    with pytest.raises(UserError) as refused:
        read(photos)
    " ".join(refused.value.lines()).encode()


# ------------------------------------------------------------------------ decoded once


def kept(photos: Path) -> list[Path]:
    """The folders in which decoded images are kept."""
    return sorted((photos.parent / "data" / "image_folder").iterdir())


def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_decoded, "read_picture", lambda *a, **k: pytest.fail("an image is decoded"))


def test_stating_a_folder_decodes_nothing(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_decoding(monkeypatch)
    data_of(photos)
    assert not (photos.parent / "data").exists()


def test_images_are_decoded_once_with_their_progress(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def progress(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        seen.append((what, total))
        yield from items

    first = Loaded(data_of(photos), CPU, progress=progress)
    assert seen == [("decoding images", 25)]
    no_decoding(monkeypatch)
    # Neither again, nor under another path to the same files, nor for another split or normalisation.
    shutil.move(photos, photos.with_name("moved"))
    moved = photos.with_name("moved")
    again = Loaded(data_of(moved), CPU, progress=progress)
    Loaded(data_of(moved, test_fraction=0.5, seed=3, normalise="unit", valid_fraction=0.3), CPU)
    assert len(seen) == 1
    assert again.fingerprint == first.fingerprint
    assert torch.equal(again["train"].raw(), first["train"].raw())
    assert differences(again.preprocessing.state_dict(), first.preprocessing.state_dict()) == []


def test_many_images_keep_their_order_and_no_more_are_in_memory_than_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = fill(tmp_path / "photos", {"cat": 200, "dog": 100})
    monkeypatch.setattr(_decoded, "_PIECE", 3 * 12 * 12 * 3)  # three images
    splits = read(photos, test_fraction=0.0, valid_fraction=0.0)
    assert numbers(splits["train"])[:100] == list(range(100))
    assert numbers(splits["train"])[200:] == list(range(100))
    begun = 0
    real = _decoded.read_picture

    def counting(*a: Any, **k: Any) -> Picture:
        nonlocal begun
        begun += 1
        return real(*a, **k)

    monkeypatch.setattr(_decoded, "read_picture", counting)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    files = [str(path) for path in sorted(photos.glob("*/*"))]
    ahead = _decoded.decoded(_decoded.Decoding(photos, (3, 12, 12), "crop"), files)
    next(ahead)
    time.sleep(0.3)
    assert begun <= 5 * 3


def test_another_file_time_size_or_colour_is_decoded_anew(photos: Path) -> None:
    def decoded_anew(**options: Any) -> bool:
        seen: list[str] = []

        def progress(items: Iterable[Any], total: int, what: str) -> Iterable[Any]:
            seen.append(what)
            return items

        prepare = data_of(photos, **options).prepare
        assert prepare is not None
        prepare(progress)
        return bool(seen)

    assert decoded_anew()
    assert not decoded_anew()
    assert decoded_anew(size=24)
    assert decoded_anew(colour=False)
    assert decoded_anew(resize="pad")
    assert not decoded_anew(), "the others are kept beside it"
    assert len(kept(photos)) == 4
    path = photos / "cat" / "000.png"
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert decoded_anew()
    assert len(kept(photos)) == 4, "what the folder was before is gone"
    path.rename(path.with_name("zzz.png"))
    assert decoded_anew()
    image(photos / "owl" / "zzz.png", COLOURS["owl"], 200)
    assert decoded_anew()


def test_what_is_kept_of_other_folders_stays(photos: Path, tmp_path: Path) -> None:
    other = fill(tmp_path / "other", {"cat": 5, "dog": 5})
    mine = tmp_path / "data" / "image_folder" / "notes"
    read(photos)
    mine.mkdir()
    read(other)
    image(photos / "cat" / "new.png", COLOURS["cat"], 77)
    read(photos)
    assert len(kept(photos)) == 3
    assert mine.exists()


def test_what_was_not_used_for_the_longest_time_goes_first(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLRUN_CACHE_GIB", str(50_000 / 2**30))  # the images at each size take about 11 KB
    sizes = (12, [12, 13], [13, 12], [12, 11])
    for days, size in enumerate(sizes):
        read(photos, size=size)
        [new] = [folder for folder in kept(photos) if time.time() - folder.stat().st_mtime < 3600]
        os.utime(new, (0, 10**6 + days))
    read(photos, size=12)  # used now, not decoded
    read(photos, size=[11, 12])
    left = {tuple(json.loads((each / "index.json").read_text())["key"]["shape"][1:]) for each in kept(photos)}
    assert left == {(12, 12), (13, 12), (12, 11), (11, 12)}
    monkeypatch.setenv("DLRUN_CACHE_GIB", "0")
    read(photos, size=9)
    assert len(kept(photos)) == 1, "those of this run stay"
    monkeypatch.setenv("DLRUN_CACHE_GIB", "much")
    with pytest.raises(UserError, match="DLRUN_CACHE_GIB is 'much', not a number of GiB"):
        read(photos, size=8)


def test_decoded_images_are_deleted_when_asked_for(
    dlrun: Callable[..., Any], photos: Path, tmp_path: Path
) -> None:
    read(photos)
    mine = tmp_path / "data" / "image_folder" / "notes"
    mine.mkdir()
    size = sum(file.stat().st_size for file in tmp_path.glob("data/image_folder/*/*"))
    assert size > 25 * 3 * 12 * 12
    done = dlrun("data", "--clear-cache", "--data-dir", tmp_path / "data")
    assert (done.code, done.err) == (0, "")
    assert (
        done.out
        == f"{size_text(size)} of decoded images and parsed tables were deleted in {tmp_path / 'data'}\n"
    )
    assert kept(photos) == [mine]
    assert dlrun("data", "--clear-cache", "--data-dir", tmp_path / "none").out.startswith("0 bytes")
    assert dlrun("data").code == 2


def test_the_same_pictures_have_the_same_fingerprint_wherever_they_are(photos: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(photos, copy, copy_function=shutil.copy)
    first = Loaded(data_of(photos), CPU).fingerprint
    assert Loaded(data_of(copy), CPU).fingerprint == first
    image(copy / "dog" / "003.png", COLOURS["dog"], 90)
    assert Loaded(data_of(copy), CPU).fingerprint != first
    image(copy / "dog" / "003.png", COLOURS["dog"], 3)
    assert Loaded(data_of(copy), CPU).fingerprint == first
    (copy / "dog").rename(copy / "dogs")
    assert Loaded(data_of(copy), CPU).fingerprint != first, "of another class"


def test_files_of_one_name_size_and_time_are_not_taken_for_each_other(tmp_path: Path) -> None:
    wanted = []
    for number, name in enumerate(("one", "two")):
        for index, place in enumerate(("cat/1.bmp", "cat/2.bmp", "dog/1.bmp", "dog/2.bmp")):
            file = tmp_path / name / place
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (12, 12), (10 + index + 80 * number,) * 3).save(file)
            os.utime(file, (0, 0))
        wanted.append(
            pixels(read(tmp_path / name, test_fraction=0.0, valid_fraction=0.0)["train"])
            .float()
            .mean((1, 2, 3))
            .tolist()
        )
    assert wanted == [[10, 11, 12, 13], [90, 91, 92, 93]]
    cat, dog = tmp_path / "one" / "cat" / "1.bmp", tmp_path / "one" / "dog" / "1.bmp"
    cat.rename(tmp_path / "kept")  # a label corrected
    dog.rename(cat)
    (tmp_path / "kept").rename(dog)
    changed = (
        pixels(read(tmp_path / "one", test_fraction=0.0, valid_fraction=0.0)["train"])
        .float()
        .mean((1, 2, 3))
        .tolist()
    )
    assert changed == [12, 11, 10, 13]


@pytest.mark.parametrize(
    "what",
    [
        "cut images",
        "no images",
        "no index",
        "broken index",
        "empty index",
        "fewer images",
        "other images",
        "a pipe",
    ],
)
def test_what_is_not_whole_is_decoded_again(photos: Path, what: str, no_hanging: None) -> None:
    wanted = pixels(read(photos)["train"])
    [folder] = kept(photos)
    match what:
        case "cut images":
            os.truncate(folder / "images", 100)
        case "no images":
            (folder / "images").unlink()
        case "no index":
            (folder / "index.json").unlink()
        case "a pipe":
            (folder / "index.json").unlink()
            os.mkfifo(folder / "index.json")
        case "fewer images" | "other images":
            index = json.loads((folder / "index.json").read_text())
            index["images"] = 3 if what == "fewer images" else "many"
            (folder / "index.json").write_text(json.dumps(index))
            os.truncate(folder / "images", 3 * math.prod(index["key"]["shape"]))
        case _:
            (folder / "index.json").write_text("{" if what == "broken index" else "{}")
    assert torch.equal(pixels(read(photos)["train"]), wanted)


def decode_in_child(photos: str, killed_at: int, log: str) -> None:
    """Decode in a process of its own, which is killed at one image; says in `log` that it decoded."""

    def progress(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        with open(log, "a") as file:
            file.write(f"{what}\n")
        for number, item in enumerate(items):
            if number == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)
            yield item

    loaded = Loaded(data_of(Path(photos)), CPU, progress=progress)
    with open(log, "a") as file:
        file.write(f"{loaded.fingerprint}\n")


@pytest.mark.slow
def test_a_killed_decode_leaves_nothing_that_is_taken_for_whole(photos: Path, tmp_path: Path) -> None:
    for killed_at in (0, 12, 24):
        process = child(decode_in_child, str(photos), killed_at, str(tmp_path / "log"))
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
    [folder] = kept(photos)
    assert list(folder.glob("*.tmp"))
    assert not (folder / "index.json").exists()
    other = fill(tmp_path / "other", {"cat": 5, "dog": 5})
    read(other)
    assert folder not in kept(photos), "the next run removes what is left"
    assert sum(map(len, read(photos).values())) == 25
    assert not list(photos.parent.glob("data/image_folder/*/*.tmp"))


def test_processes_that_start_at_once_decode_once(photos: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [child(decode_in_child, str(photos), -1, str(log)) for _ in range(4)]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    lines = log.read_text().split("\n")[:-1]
    assert lines.count("decoding images") == 1
    assert len({line for line in lines if "images" not in line}) == 1
    assert len([line for line in lines if "images" not in line]) == 4


def test_a_folder_that_is_tidied_away_before_it_is_taken_is_made_again(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked, removed = _alone.locked, False

    def too_late(descriptor: int) -> bool:
        nonlocal removed
        if not removed:
            shutil.rmtree(kept(photos)[0])
            removed = True
        return locked(descriptor)

    monkeypatch.setattr(_alone, "locked", too_late)
    assert sum(map(len, read(photos).values())) == 25
    assert removed


def test_a_decode_that_is_stopped_leaves_nothing(photos: Path) -> None:
    def stopped(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        yield next(iter(items))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Loaded(data_of(photos), CPU, progress=stopped)
    [folder] = kept(photos)
    assert list(folder.iterdir()) == []


def test_a_data_folder_that_cannot_be_written_to_is_named(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(UserError, match="cannot write") as refused:
        read(photos)
    assert "--data-dir" in refused.value.fix
    (tmp_path / "data").unlink()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(RunFailed, match="No space left") as failed:
        patched.setattr(os, "fsync", full)
        read(photos)
    assert "--data-dir" in failed.value.fix
    assert not list(tmp_path.glob("data/image_folder/*/*"))
    space = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: space)
    with pytest.raises(RunFailed, match="decoded images take") as failed:
        read(photos)
    assert "--data-dir" in failed.value.fix


def test_the_images_stay_in_their_file_and_are_read_without_a_warning(photos: Path) -> None:
    torch.set_warn_always(True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = Loaded(data_of(photos), CPU)
        batch, _ = loaded["train"].batch(torch.arange(4))
    torch.set_warn_always(False)
    [folder] = kept(photos)
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(folder / "images") in maps.read_text()
    shutil.rmtree(folder)  # another run may tidy up: what is mapped stays
    assert torch.equal(loaded["train"].batch(torch.arange(4))[0], batch)


# ------------------------------------------------------------------------ what a checkpoint knows


def test_the_classes_of_a_checkpoint_are_those_of_the_model(photos: Path) -> None:
    known = json.loads(json.dumps(dict(data_of(photos).known)))
    assert data_of(photos, known).classes == ("cat", "dog", "owl")
    shutil.rmtree(photos / "cat")
    data = data_of(photos, known)
    assert data.classes == ("cat", "dog", "owl")
    assert set(data.read()["train"].targets.tolist()) == {1, 2}, "a class may be missing, none moves up"
    image(photos / "ant" / "a.png", (0, 0, 0))
    with pytest.raises(UserError, match=r"no class ant \(there are: cat, dog, owl\)"):
        read(photos, known)


def test_with_the_classes_of_a_checkpoint_the_folder_is_not_needed_before_it_is_read(photos: Path) -> None:
    shutil.rmtree(photos)
    data = data_of(photos, {"classes": ["cat", "dog"]})
    assert data.classes == ("cat", "dog")
    assert data.splits == ("train", "valid", "test")
    with pytest.raises(UserError, match="there is no folder"):
        data.read()


@pytest.mark.parametrize(
    "known", [{}, {"classes": []}, {"classes": ["a", "a"]}, {"classes": ["a", 1]}, {"classes": "ab"}]
)
def test_classes_that_can_be_none_are_refused(photos: Path, known: dict[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError)):
        data_of(photos, known)


def new_of(data: Data, path: Path) -> list[NewInputs]:
    assert data.read_new is not None
    found = data.read_new(path)
    assert not isinstance(found, tuple)
    return list(found)


def test_new_images_are_read_as_those_of_training_are(photos: Path, tmp_path: Path) -> None:
    data = data_of(photos, test_fraction=0.0, valid_fraction=0.0)
    [found] = new_of(data, photos / "dog" / "004.png")
    assert found.names == [str(photos / "dog" / "004.png")]
    assert torch.equal(found.inputs[0], pixels(data.read()["train"])[14])
    [found] = new_of(data, photos)
    assert [Path(name).parent.name for name in found.names] == ["cat"] * 10 + ["dog"] * 10 + ["owl"] * 5
    assert torch.equal(found.inputs, pixels(data.read()["train"]))
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="holds no image"):
        new_of(data, tmp_path / "none")


def test_new_images_come_in_pieces_and_a_bad_one_costs_its_own_row(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_examples, "_PIECE", 10 * 3 * 12 * 12)  # ten images
    data = data_of(photos)
    damage(photos, "cat/001.png", "cat/004.png", "dog/000.png")
    (photos / "owl" / "gone.png").symlink_to(photos / "nowhere")
    pieces = new_of(data, photos)
    assert [(len(piece.names), len(piece.inputs)) for piece in pieces] == [(10, 8), (10, 9), (6, 5)]
    assert [sorted(piece.refused) for piece in pieces] == [[1, 4], [0], [5]]
    assert "it is none of PNG" in pieces[0].refused[1]
    assert "No such file" in pieces[2].refused[5]
    assert pieces[0].inputs[:, 0, 6, 6].tolist() == [0, 2, 3, 5, 6, 7, 8, 9]
    with pytest.raises(UserError, match="cannot be read") as refused:
        new_of(data, photos / "cat" / "001.png")
    assert refused.value.where == str(photos / "cat" / "001.png")


def test_another_folder_is_read_whole_with_its_labels(photos: Path, tmp_path: Path) -> None:
    data = data_of(photos)
    assert data.read_labelled and data.name_of
    trained_on = data.read()["train"]
    other = fill(tmp_path / "other" / "Testing", {"owl": 2, "dog": 3}, first=3)
    fill(tmp_path / "other" / "train", {"dog": 1}, first=200)
    found = data.read_labelled(other.parent)
    assert found.targets.tolist() == [1, 1, 1, 1, 2, 2]
    assert found.origin is not None and found.keys is not None and trained_on.keys is not None
    assert [*map(data.name_of, found.origin.tolist())] == [
        "train/dog/200.png", "Testing/dog/003.png", "Testing/dog/004.png", "Testing/dog/005.png",
        "Testing/owl/003.png", "Testing/owl/004.png",
    ]  # fmt: skip
    known = names_of(data)["train"]
    same = [name.split("/", 1)[1] in known for name in map(data.name_of, found.origin.tolist())]
    assert torch.isin(found.keys, trained_on.keys).tolist() == same
    assert pixels(found)[0, 0, 6, 6] == 200
    image(tmp_path / "other" / "Testing" / "eel" / "a.png", (0, 0, 0))
    with pytest.raises(UserError, match=r"no class eel \(there are: cat, dog, owl\)"):
        data.read_labelled(other.parent)


# ------------------------------------------------------------------------ from the command line

CONFIG = """\
seeds: [0, 1]
threads: 1
dataset: {name: image_folder, path: PATH, size: [10, 12], valid_fraction: 0.25}
augmentations: [flip]
architecture: {name: cnn, channels: [4], kernel_size: 3, padding: 1}
loss: cross_entropy
optimizer: {name: adam, lr: 1e-2}
epochs: 3
batch_size: 4
metrics: [accuracy]
plots: []
"""


@pytest.fixture
def config(photos: Path, write: Callable[[str, str], Path]) -> Path:
    return write("photos.yaml", CONFIG.replace("PATH", str(photos)))


def test_a_folder_of_images_trains_with_no_code(
    dlrun: Callable[..., Any],
    config: Path,
    photos: Path,
    runs_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = ("--data-dir", tmp_path / "data")
    for path in (photos / "cat").iterdir():  # as people have them
        Image.open(path).convert("L").save(path.with_suffix(".jpg"))
        path.unlink()
    done = dlrun("train", config, "epochs=12", *data)
    assert done.code == 0, done.err
    assert "decoding images: 25" in done.err
    [predicted] = json.loads(dlrun("predict", "last", photos / "owl/001.png", "--json", *data).out)[
        "predictions"
    ]
    assert predicted["class"] == "owl"
    no_decoding(monkeypatch)
    done = dlrun("eval", "last", "--split", "valid", *data)
    assert "exactly as recorded at training: loss, accuracy" in done.out
    assert done.err == ""
    found = json.loads(dlrun("eval", "last", "--json", *data).out)
    assert found["same_data"]
    assert found["metrics"]["accuracy"] == 1.0, "three colours are easy"
    # The same run with a pause in it, bit for bit.
    for words in (["unbroken"], ["paused", "--stop-after", "1"]):
        assert dlrun("train", config, "--name", *words, *data).code == 0
    assert dlrun("resume", "paused", *data).code == 0
    unbroken, paused = (outcome(Run(runs_dir / f"{name}-001")) for name in ("unbroken", "paused"))
    assert not differences(unbroken, paused)
    for command in (["show", config], ["data", config]):
        assert dlrun(*command, *data).code == 0


def test_another_folder_is_evaluated_if_the_model_knows_its_classes(
    dlrun: Callable[..., Any], config: Path, runs_dir: Path, tmp_path: Path
) -> None:
    data = ("--data-dir", tmp_path / "data")
    assert dlrun("train", config, *data).code == 0
    other = fill(tmp_path / "other", {"owl": 10, "dog": 5}, first=50)
    found = json.loads(dlrun("eval", "last", "--json", "--on", other, *data).out)
    assert [row["examples"] for row in found["per_class"].values()] == [0, 5, 10]
    elsewhere = dlrun("eval", "last", f"dataset.path={other}", *data)
    assert (elsewhere.code, "--on" in elsewhere.err) == (2, True)
    for name in ("eel10", "eel", "eel9"):
        image(other / name / "a.png", (0, 0, 0))
    refused = dlrun("eval", "last", "--on", other, *data)
    assert refused.code == 2
    assert "the model has no class eel, eel9, eel10 (there are:" in refused.err
    plan, _, _ = open_plan(
        Run(runs_dir / "photos-001").best, ["dataset.path=gone"], Parts(), tmp_path / "data"
    )
    [found] = new_of(plan.data, other)
    assert found.inputs.shape == (18, 3, 10, 12), "for a prediction no training images"


def test_a_run_of_an_earlier_dlrun_keeps_its_split_and_its_reading(
    dlrun: Callable[..., Any], config: Path, runs_dir: Path, tmp_path: Path
) -> None:
    rule = {"split_rule": "drawn", "valid_fraction": "0.0", "test_fraction": "0.2"}
    rule |= {"value_range": "[0.0,65535.0]", "endings": "[.png,.jpg,.jpeg,.webp,.bmp]", "scale_each": "false"}
    options = [f"dataset.{name}={value}" for name, value in rule.items()]
    assert dlrun("train", config, *options, "--stop-after", "1", "--data-dir", tmp_path / "data").code == 0
    run = Run(runs_dir / "photos-001")
    of_then = ("name", "path", "size", "colour", "resize", "normalise", "seed", "unreadable")
    plain = yaml.safe_load(run.config.read_text())
    plain["dataset"] = {name: plain["dataset"][name] for name in of_then}
    run.config.write_text(yaml.safe_dump(plain))
    found = load_run_config(run.config).dataset.options
    assert (found["split_rule"], found["valid_fraction"], found["test_fraction"]) == ("drawn", 0.0, 0.2)
    assert (found["value_range"], found["endings"]) == (
        [0.0, 65535.0],
        [".png", ".jpg", ".jpeg", ".webp", ".bmp"],
    )
    assert dlrun("resume", "last", "--data-dir", tmp_path / "data").code == 0


def test_a_run_does_not_go_on_with_other_images(
    dlrun: Callable[..., Any], config: Path, photos: Path, tmp_path: Path
) -> None:
    data = ("--data-dir", tmp_path / "data")
    assert dlrun("train", config, "--stop-after", "1", *data).code == 0
    moved = photos.rename(photos.with_name("moved"))
    assert dlrun("resume", "last", f"dataset.path={moved}", *data).code == 0, "wherever they are"
    image(moved / "cat" / "000.png", COLOURS["cat"], 250)
    refused = dlrun("resume", "last", "epochs=4", *data)
    assert refused.code == 4
    assert "not what this run was trained on" in refused.err


def test_mistakes_of_a_folder_are_those_of_the_config(dlrun: Callable[..., Any], config: Path) -> None:
    refused = dlrun("train", config, "dataset.path=nowhere", "optimizer.lr=1e-3")
    assert refused.code == 2
    assert "there is no file or folder" in refused.err
    assert str(Path("nowhere").absolute()) in refused.err
    assert "Traceback" not in refused.err


def test_a_signal_stops_a_decode_before_a_run_goes_on(
    dlrun: Callable[..., Any], config: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ("--data-dir", tmp_path / "data")
    assert dlrun("train", config, "--stop-after", "1", *data).code == 0
    shutil.rmtree(tmp_path / "data")
    real = _decoded.decoded

    def interrupted(*arguments: Any) -> Iterator[Any]:
        for number, item in enumerate(real(*arguments)):
            if number == 3:
                os.kill(os.getpid(), signal.SIGINT)
            yield item
            assert number <= 3, "it goes on"

    with monkeypatch.context() as patched:
        patched.setattr(_decoded, "decoded", interrupted)
        stopped = dlrun("resume", "last", *data)
    assert stopped.code == 130
    assert "stopped by a signal while decoding images" in stopped.err
    assert "resume: dlrun resume" in stopped.err
    assert not list(tmp_path.glob("data/image_folder/*/*"))
    assert dlrun("resume", "last", *data).code == 0
