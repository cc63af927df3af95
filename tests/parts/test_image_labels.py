"""Labels of images from a table: matched by name, counted where there are none, refused where they differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from dlrun.data.examples import Data, Examples
from dlrun.dataset.image_folder import image_folder, of_earlier_runs
from dlrun.errors import UserError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Forty images of one grey each, its number, in two folders that mean nothing."""
    for number in range(40):
        path = tmp_path / "photos" / f"batch{number % 2}" / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 6), (number,) * 3).save(path)
    return tmp_path / "photos"


def data_of(photos: Path, known: dict[str, Any] | None = None, **options: Any) -> Data:
    options = {"path": str(photos), "size": 6, "labels": "labels.csv"} | options
    return image_folder(photos.parent / "data", known, **options)


def write(photos: Path, header: str, row: Callable[[int], str]) -> None:
    (photos / "labels.csv").write_text("\n".join([header, *map(row, range(40))]) + "\n")


def by_number(data: Data) -> dict[int, Any]:
    """The targets of all examples by the numbers of their images."""
    return {
        int(n): t for some in data.read().values() for n, t in zip(numbers(some), some.targets, strict=True)
    }


def numbers(examples: Examples) -> list[int]:
    inputs = examples.raw(torch.arange(len(examples)))
    assert isinstance(inputs, Tensor)
    return inputs[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    "name",
    [
        lambda n: f"batch{n % 2}/{n:03d}.png",
        lambda n: f"batch{n % 2}/{n:03d}",
        lambda n: f"{n:03d}.png",
        lambda n: f"{n:03d}",
        lambda n: f"{n:03d}.JPG",
        lambda n: f"C:\\scans\\{n:03d}.png",
    ],
)
def test_a_file_is_found_under_any_of_its_names(photos: Path, name: Callable[[int], str]) -> None:
    write(photos, "id,scan,kind", lambda n: f"{n},{name(n)},grade{10 if n < 20 else 2}")
    data = data_of(photos, target="kind")
    assert (data.task, data.classes, data.notes) == ("classification", ("grade2", "grade10"), [])
    assert {number: int(target) for number, target in by_number(data).items()} == {
        number: int(number < 20) for number in range(40)
    }
    counts = {split: some.targets.bincount().tolist() for split, some in data.read().items()}
    assert counts == {"train": [14, 14], "valid": [2, 2], "test": [4, 4]}


def test_equal_numbers_are_one_class(photos: Path) -> None:
    write(photos, "file,kind", lambda n: f"{n:03d}.png,{['1', '1.0', '0', '00'][n % 4]}")
    assert data_of(photos, target="kind").classes == ("0", "1")


def test_several_columns_are_several_labels(photos: Path) -> None:
    write(photos, "file,cat,dog", lambda n: f"{n:03d}.png,{n % 2},{int(n > 9)}")
    data = data_of(photos, target=["cat", "dog"])
    assert (data.task, data.classes) == ("multilabel", ("cat", "dog"))
    assert all(target.tolist() == [n % 2, n > 9] for n, target in by_number(data).items())
    with pytest.raises(UserError, match=r"'38' is neither 0 nor 1"):
        write(photos, "file,cat,dog", lambda n: f"{n:03d}.png,{n if n == 38 else 0},1")
        data_of(photos, target=["cat", "dog"]).read()


def test_numbers_are_a_regression_on_a_scale_of_their_own(photos: Path) -> None:
    write(photos, "file,age,height", lambda n: f"{n:03d}.png,{n + 0.5},{2 * n}")
    data = data_of(photos, target="age", task="regression", unit="years")
    assert (data.task, data.target, data.unit, data.targets, data.classes) == (
        "regression",
        "age",
        "years",
        1,
        (),
    )
    assert data.scaling == pytest.approx((20, torch.arange(40.0).std(correction=0).item()))
    assert all(target.tolist() == [n + 0.5] for n, target in by_number(data).items())
    known = json.loads(json.dumps(data.known))
    (photos / "labels.csv").rename(photos / "gone.csv")
    assert data_of(photos, known, target="age", task="regression").scaling == data.scaling, "of a checkpoint"
    (photos / "gone.csv").rename(photos / "labels.csv")
    both = data_of(photos, target=["age", "height"], task="regression", scale_target=False)
    assert (both.targets, both.scaling) == (2, None)
    assert all(target.tolist() == [n + 0.5, 2 * n] for n, target in by_number(both).items())
    assert (both.target, both.target_names) == ("", ("age", "height"))
    each = data_of(photos, target=["age", "height"], task="regression")
    sd = torch.arange(40.0).std(correction=0).item()
    assert each.scaling == (pytest.approx((20, 39)), pytest.approx((sd, 2 * sd)))
    known = json.loads(json.dumps(each.known))
    assert data_of(photos, known, target=["age", "height"], task="regression").scaling == each.scaling
    before = {"target": ["age", "height"], "task": "regression", "scale_each": of_earlier_runs["scale_each"]}
    every = torch.cat([torch.arange(40) + 0.5, 2 * torch.arange(40)])
    of_all = pytest.approx((every.mean().item(), every.std(correction=0).item()))
    assert data_of(photos, **before).scaling == of_all, "a run of before goes on by its loss"
    with pytest.raises(UserError, match="40 different numbers in 40 rows") as refused:
        data_of(photos, target="age")
    assert "task=regression" in refused.value.fix


@pytest.mark.parametrize("target", ["age", ["age", "height"]])
def test_a_table_without_any_number_is_refused(photos: Path, target: str | list[str]) -> None:
    write(photos, "file,age,height", lambda n: f"{n:03d}.png,,")
    with pytest.raises(UserError, match="no row of the table names an image"):
        data_of(photos, target=target, task="regression").read()


def test_what_has_no_row_no_label_or_no_image_is_left_out_and_counted(photos: Path) -> None:
    write(photos, "file,kind", lambda n: f"{n + 2:03d}.png,{'ab'[n % 2] if n else 'NA'}")
    data = data_of(photos, target="kind")
    assert sorted(by_number(data)) == list(range(3, 40))
    assert data.notes[:3] == [
        "2 images have no row and are left out: batch0/000.png, batch1/001.png",
        "1 image has no label and is left out: batch0/002.png",
        "2 rows of the table name no image and are left out: 040.png, 041.png",
    ]
    assert "same folder are in train and in valid or test: batch0, batch1 (2 folders)" in data.notes[3]


def test_rows_that_contradict_each_other_and_names_of_several_files_are_refused(photos: Path) -> None:
    write(photos, "file,kind", lambda n: f"{n:03d}.png,{'ab'[n % 2]}")
    with (photos / "labels.csv").open("a") as file:
        file.write("003.png,b\n")
    data_of(photos, target="kind").read()
    with (photos / "labels.csv").open("a") as file:
        file.write("batch1/003.png,a\n")
    with pytest.raises(UserError, match="has b in one row, and a in another") as refused:
        data_of(photos, target="kind")
    assert refused.value.where.endswith("labels.csv:42 and 43")
    Image.new("RGB", (6, 6)).save(photos / "batch0" / "003.png")
    with pytest.raises(UserError, match=r"several images are called 003.png"):
        data_of(photos, target="kind")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "dataset.target names no column"),
        ({"target": "kin"}, "there is no column 'kin'; did you mean 'kind'"),
        ({"target": "kind", "labels": "gone.csv"}, "there is no table of labels .*gone.csv"),
        ({"target": "kind", "file_column": "other"}, "no row of the table names an image"),
        ({"target": ["kind", "other"], "task": "classification"}, "a class is in one column"),
        ({"target": "kind", "task": "regression"}, "'a' is not a number"),
        ({"target": "kind", "labels": None}, "target is for the labels in a table"),
        ({"target": "kind", "names": {"c": "cat"}}, "names has 'c', which is no class"),
        ({"target": "kind", "names": {"a": "b"}}, "names calls two classes b"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(photos: Path, options: dict[str, Any], said: str) -> None:
    write(photos, "file,kind,other", lambda n: f"{n:03d}.png,{'ab'[n % 2]},x")
    with pytest.raises(UserError, match=said):
        data_of(photos, **options)


def test_classes_are_shown_under_their_names(photos: Path) -> None:
    write(photos, "file,kind", lambda n: f"{n:03d}.png,{'ab'[n % 2]}")
    data = data_of(photos, target="kind", names={"a": "ant"})
    assert data.classes == ("ant", "b")
    assert data_of(photos, dict(data.known), target="kind", names={"a": "ant"}).classes == data.classes


def test_folders_of_splits_are_the_splits_with_a_table_too(photos: Path) -> None:
    (photos / "batch0").rename(photos / "Train")
    (photos / "batch1").rename(photos / "Testing")
    write(photos, "file,kind", lambda n: f"{n:03d}.png,{'ab'[n // 2 % 2]}")
    data = data_of(photos, target="kind")
    assert data.splits == ("train", "valid", "test")
    assert {name: {n % 2 for n in numbers(some)} for name, some in data.read().items()} == {
        "train": {0}, "valid": {0}, "test": {1}
    }  # fmt: skip


def test_another_folder_has_a_table_of_its_own(photos: Path, tmp_path: Path) -> None:
    write(photos, "file,kind", lambda n: f"{n:03d}.png,{'ab'[n % 2]}")
    data = data_of(photos, target="kind")
    assert data.read_labelled and data.name_of
    other = tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (6, 6), (7, 7, 7)).save(other / "seven.png")
    (other / "labels.csv").write_text("file,kind\nseven.png,b\n")
    found = data.read_labelled(other)
    assert (numbers(found), found.targets.tolist()) == ([7], [1])
    assert found.origin is not None and found.keys is not None
    assert data.name_of(int(found.origin[0])) == "seven.png"
    every = torch.cat([some.keys for some in data.read().values() if some.keys is not None])
    assert torch.isin(found.keys, every).all(), "the same pixels with the same label"
    (other / "labels.csv").write_text("file,kind\nseven.png,c\n")
    with pytest.raises(UserError, match=r"no class c \(there are: a, b\)"):
        data.read_labelled(other)


@pytest.mark.parametrize("target", ["kind", ["kind", "other"], "age"])
def test_each_kind_of_label_trains_is_evaluated_and_predicts(
    photos: Path, tmp_path: Path, target: str | list[str], dlrun: Callable[..., Any]
) -> None:
    write(photos, "file,kind,other,age", lambda n: f"{n:03d}.png,{int(n > 19)},{n % 2},{n + 0.5}")
    stated = {
        "name": "image_folder",
        "path": str(photos),
        "size": 6,
        "labels": "labels.csv",
        "target": target,
    }
    stated |= {"task": "regression"} if target == "age" else {}
    loss = {"kind": "cross_entropy", "age": "mse"}.get(str(target), "bce")
    config = {
        "dataset": stated,
        "architecture": {"name": "mlp", "hidden": [8], "flatten": True},
        "loss": loss,
    }
    config |= {
        "optimizer": {"name": "adam", "lr": 0.01},
        "epochs": 30,
        "batch_size": 8,
        "plots": [],
        "threads": 1,
    }
    (tmp_path / "c.yaml").write_text(json.dumps(config))
    data = ("--data-dir", tmp_path / "data")
    done = dlrun("train", tmp_path / "c.yaml", *data)
    assert done.code == 0, done.err
    assert dlrun("eval", "last", *data).code == 0
    [row] = json.loads(dlrun("predict", "last", photos / "batch1" / "035.png", "--json", *data).out)[
        "predictions"
    ]
    if target == "kind":
        assert row["class"] == "1"
    if target == "age":
        assert row["age"] == pytest.approx(35.5, abs=8)
