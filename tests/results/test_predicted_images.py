"""Masks and reconstructions of `dlrun predict`: no file is replaced, and pixels keep their places."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_runs import contents, own_parts, planned, trained
from torch import Tensor

from dlrun.config.registry import Parts
from dlrun.data.image_files.reading import read_image
from dlrun.errors import UserError
from dlrun.results.predicted_images import new_files
from dlrun.results.prediction import predict_files
from dlrun.run_folders.run import Run
from dlrun.training.opening import open_checkpoint
from dlrun.training.trained import Trained

UNET = {"name": "unet", "channels": 2, "depth": 1}
SHAPES = {"name": "shapes", "images": 8, "test_images": 4, "size": 16}


@pytest.fixture
def segmenting(tmp_path: Path) -> Run:
    """A run of two seeds that gives a class for each pixel."""
    plan = planned(dataset=SHAPES, architecture=UNET, seeds=[0, 1], optimizer={"name": "adam", "lr": 0.05})
    return trained(plan, tmp_path)


@pytest.fixture
def giving_back(tmp_path: Path) -> tuple[Run, Parts]:
    """A run that gives its images of 8×8 pixels back."""
    parts = own_parts(tmp_path)
    autoencoder = {"name": "autoencoder", "hidden": [8], "code": 3}
    changes: dict[str, Any] = {"task": "reconstruction", "loss": "mse", "metrics": []}
    return trained(planned(parts, dataset="dots", architecture=autoencoder, **changes), tmp_path), parts


def opened(run: Run, parts: Parts | None = None) -> Trained:
    return open_checkpoint(run.best, run, [], parts or Parts(), run.folder)[0]


def saved(folder: Path, images: Tensor, *names: str) -> Path:
    """Grey images (n, 1, height, width) in the files of these names."""
    for name, image in zip(names, images, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(folder / name)
    return folder


def together(trained: Trained, images: Tensor) -> Tensor:
    """The classes with the largest mean probability over seeds, (n, height, width)."""
    return trained.outputs_at(images).double().softmax(2).mean(0).argmax(1)


def test_a_mask_is_a_palette_image_of_the_classes_that_the_seeds_predict_together(
    segmenting: Run, tmp_path: Path
) -> None:
    model = opened(segmenting)
    images = model.loaded["test"].raw()
    new = saved(tmp_path / "new", images, "a.png", "b.png", "deep/a.png", "c.png")
    found = predict_files(segmenting.best, [new], Parts(), tmp_path, out=tmp_path / "out")
    rows = {Path(row["input"]).relative_to(new).as_posix(): row for row in found.rows()}
    assert list(rows) == ["a.png", "b.png", "c.png", "deep/a.png"]
    for name, index in {"a.png": 0, "b.png": 1, "deep/a.png": 2, "c.png": 3}.items():
        classes = together(model, images[[index]])[0]
        file = Path(rows[name]["mask"])
        assert file == tmp_path / "out" / name
        with Image.open(file) as mask:
            assert mask.mode == "P"
            np.testing.assert_array_equal(np.asarray(mask), classes)
            colours = np.asarray(mask.convert("RGB"))
        blue = {1: (0, 0x72, 0xB2), 0: (0xDD, 0xDD, 0xDD)}  # a disc, and the background
        for number, colour in blue.items():
            assert (colours[(classes == number).numpy()] == colour).all()
        counts = [int((classes == number).sum()) / 256 for number in range(4)]
        assert list(rows[name]["shares"].values()) == pytest.approx(counts)
        assert list(rows[name]["shares"]) == ["background", "disc", "square", "triangle"]


def test_the_mask_of_a_larger_image_has_its_size_and_leaves_out_what_was_added(
    segmenting: Run, tmp_path: Path
) -> None:
    model = opened(segmenting)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 24), dtype=np.uint8)).save(
        tmp_path / "high.png"
    )
    prepared = read_image(tmp_path / "high.png", 16, 16, 1, "pad")
    seen = together(model, prepared.unsqueeze(0))[0][:, 4:12]  # 8 of 16 columns are black bars
    [row] = predict_files(
        segmenting.best, [tmp_path / "high.png"], Parts(), tmp_path, out=tmp_path / "o"
    ).rows()
    mask = np.asarray(Image.open(row["mask"]))
    np.testing.assert_array_equal(mask, np.kron(seen, np.ones((3, 3), dtype=int)))
    assert row["shares"]["background"] == pytest.approx(float((seen == 0).double().mean()))


def test_a_reconstruction_is_written_on_the_scale_of_pixels_with_its_loss(
    giving_back: tuple[Run, Parts], tmp_path: Path
) -> None:
    run, parts = giving_back
    model = opened(run, parts)
    images = model.loaded["test"].raw()[:2]
    new = saved(tmp_path / "new", images, "a.png", "b.png")
    rows = predict_files(run.best, [new], parts, tmp_path, out=tmp_path / "out").rows()
    every = model.loaded["train"].raw().double()
    mean, sd = float(every.mean()), float(every.std(correction=0))
    outputs = model.outputs_at(images)[0]
    for index, row in enumerate(rows):
        with Image.open(row["reconstruction"]) as picture:
            assert picture.mode == "L"
            pixels = np.asarray(picture).astype(float)
        expected = (outputs[index, 0] * sd + mean).clamp(0, 255)
        np.testing.assert_allclose(pixels, expected, atol=0.51)
        loss = ((images[index] - mean) / sd - outputs[index]).square().mean()
        assert row["loss"] == pytest.approx(float(loss), rel=1e-4)


def test_no_file_is_replaced_and_nothing_is_written_where_one_would_be(
    segmenting: Run, tmp_path: Path, dlrun: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    new = saved(tmp_path / "new", opened(segmenting).loaded["test"].raw()[:2], "a.png", "b.png")
    first = dlrun("predict", segmenting.folder, new)
    assert (first.code, first.err) == (0, "")
    default = tmp_path / f"{segmenting.name}-masks"
    assert set(contents(default)) == {"a.png", "b.png"}
    before = contents(tmp_path)
    (default / "a.png").unlink()
    again = dlrun("predict", segmenting.folder, new)
    assert again.code == 2 and f"{default.name}/b.png would be replaced" in again.err
    assert "--out" in again.err and not (default / "a.png").exists()
    onto_itself = dlrun("predict", segmenting.folder, new, "--out", new)
    assert onto_itself.code == 2 and "and 1 other would be replaced" in onto_itself.err
    after = contents(tmp_path)
    assert {name for name in before if before[name] != after.get(name)} == {f"{default.name}/a.png"}


def test_inputs_of_one_name_have_masks_of_several(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    given = [
        (tmp_path / "in", [str(tmp_path / "in" / name) for name in ("a.jpg", "a.png", "deep/a.png")]),
        (tmp_path / "A.bmp", [str(tmp_path / "A.bmp")]),
    ]
    files = new_files(tmp_path / "out", given)
    assert [file.relative_to(tmp_path / "out").as_posix() for file in files] == [
        "a.png",
        "a-2.png",
        "deep/a.png",
        "A-3.png",
    ]


def test_masks_are_listed_in_a_table_as_csv_and_as_json(
    segmenting: Run, tmp_path: Path, dlrun: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # short paths, which leave room in the table
    new = "new"
    saved(Path(new), opened(segmenting).loaded["test"].raw()[:2], "a.png", "b.png")
    told = json.loads(dlrun("predict", segmenting.folder, new, "--json", "--out", "1").out)
    lines = dlrun("predict", segmenting.folder, new, "--csv", "--out", "2").out
    for row, line in zip(told["predictions"], csv.DictReader(StringIO(lines)), strict=True):
        assert Path(row["mask"]).name == Path(line["mask"]).name == Path(row["input"]).name
        for name, share in row["shares"].items():
            assert float(line[f"share of {name}"]) == share
    shown = dlrun("predict", segmenting.folder, new, "--out", "3").out
    assert "largest shares" in shown
    for row in told["predictions"]:
        name, share = max(row["shares"].items(), key=lambda item: item[1])
        assert f" {name} {share:.4f}" in shown


def test_a_damaged_image_of_a_folder_has_no_mask(
    segmenting: Run, tmp_path: Path, dlrun: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(Path("new"), opened(segmenting).loaded["test"].raw()[:3], "a.png", "b.png", "c.png")
    Path("new/b.png").write_text("no image")
    done = dlrun("predict", segmenting.folder, "new", "--json", "--out", "masks")
    rows = json.loads(done.out)["predictions"]
    assert done.code == 1 and ["mask" in row for row in rows] == [True, False, True]
    assert "b.png" in rows[1]["input"] and "problem" in rows[1]
    assert sorted(path.name for path in Path("masks").rglob("*.png")) == ["a.png", "c.png"]
    lines = list(
        csv.DictReader(StringIO(dlrun("predict", segmenting.folder, "new", "--csv", "--out", "2").out))
    )
    assert [bool(line["problem"]) for line in lines] == [False, True, False]
    shown = dlrun("predict", segmenting.folder, "new", "--out", "3")
    assert shown.code == 1 and "problem" in shown.out


def test_a_folder_for_images_is_refused_of_a_model_that_predicts_none(tmp_path: Path) -> None:
    points = tmp_path / "points.csv"
    points.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="--out is for a model whose predictions are images"):
        predict_files(trained(planned(), tmp_path).best, [points], Parts(), tmp_path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
