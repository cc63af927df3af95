"""`dlrun eval --tta` and `dlrun predict --tta`, and what they say."""

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
from small_runs import own_parts, planned, trained

from dlrun.config.registry import Parts
from dlrun.drawing import style
from dlrun.run_folders.run import Run
from dlrun.training.opening import open_checkpoint
from dlrun.training.test_time_augmentation import take_views
from dlrun.training.trained import Trained

Dlrun = Callable[..., Any]
CNN = {"name": "cnn", "channels": [3], "kernel_size": 3, "padding": 1, "hidden": [6], "activation": "tanh"}


@pytest.fixture
def dots(tmp_path: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run of two seeds on small images of three classes."""
    monkeypatch.chdir(tmp_path)
    parts = own_parts(tmp_path)
    return trained(planned(parts, dataset="dots", architecture=CNN, seeds=[0, 1]), runs_dir)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two images that the model of `dots` takes."""
    (tmp_path / "photos").mkdir()
    for name, image in zip("ab", np.random.default_rng(0).integers(0, 143, (2, 8, 8)), strict=True):
        Image.fromarray(image.astype(np.uint8)).save(tmp_path / f"photos/{name}.png")
    return tmp_path / "photos"


def opened(run: Run, parts: Parts) -> Trained:
    return open_checkpoint(run.best, run, [], parts, run.folder)[0]


def test_eval_shows_the_figures_with_views_beside_those_without(
    dots: Run, dlrun: Dlrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []
    put_title = style.titled
    monkeypatch.setattr(style, "titled", lambda figure, text: titles.append(text) or put_title(figure, text))
    words = ("eval", "last", "--parts", "parts")
    plain = json.loads(dlrun(*words, "--json").out)
    before = (dots.folder / "eval/test.json").read_bytes()
    found = json.loads(dlrun(*words, "--tta", "flip", "--json").out)
    assert found["without_tta"] == {key: plain[key] for key in ("loss", "metrics", "per_seed")}
    assert found["recorded"] == plain["recorded"] and found["loss"] != plain["loss"]
    assert [" · tta flip · " in title for title in titles] == [False, True]
    said = dlrun(*words, "--tta", "flip").out
    assert ", tta flip, 20 test examples" in said
    head = said.splitlines()[2].split("  ")
    assert [each.strip() for each in head if each.strip()] == ["tta flip", "without tta", "class prior"]
    [loss] = [line.split() for line in said.splitlines() if line.lstrip().startswith("loss ")]
    assert loss[1] == f"{found['loss']:.4f}" and loss[4] == f"{plain['loss']:.4f}"
    assert "without tta exactly as recorded at training: loss, accuracy" in said
    names = {"test.json", "test_confusion_matrix.png"}
    names |= {name.replace("test", "test_tta_flip") for name in names}
    assert {path.name for path in (dots.folder / "eval").iterdir()} == names
    assert (dots.folder / "eval/test.json").read_bytes() == before
    assert json.loads((dots.folder / "eval/test_tta_flip.json").read_text())["tta"] == "flip"


def test_eval_as_csv_judges_the_means_over_views(dots: Run, dlrun: Dlrun, tmp_path: Path) -> None:
    words = ("eval", "last", "--parts", "parts", "--tta", "d4")
    report = json.loads(dlrun(*words, "--json").out)
    rows = list(csv.DictReader(StringIO(dlrun(*words, "--csv").out)))
    assert sum(float(row["loss"]) for row in rows) / len(rows) == pytest.approx(report["loss"], rel=1e-5)
    shares = take_views(opened(dots, Parts(tmp_path / "parts")), "d4").outputs("test")[0].softmax(-1).mean(0)
    best = sorted(shares.amax(1).tolist())
    assert sorted(float(row["probability"]) for row in rows) == pytest.approx(best, rel=1e-5)


def test_predict_averages_over_views_and_says_so(
    dots: Run, photos: Path, dlrun: Dlrun, tmp_path: Path
) -> None:
    words = ("predict", "last", photos, "--parts", "parts")
    plain, told = (json.loads(dlrun(*words, *more, "--json").out) for more in ((), ("--tta", "flips")))
    assert "tta" not in plain and told["tta"] == "flips"
    model = opened(dots, Parts(tmp_path / "parts"))
    images = np.stack([np.asarray(Image.open(path)) for path in sorted(photos.iterdir())])
    raw = model.loaded["test"].raw().new_tensor(images).unsqueeze(1)
    shares = take_views(model, "flips").outputs_at(raw).softmax(-1).mean(0)
    for row, own, other in zip(told["predictions"], shares, plain["predictions"], strict=True):
        assert [*row["probabilities"].values()] == pytest.approx(own.tolist())
        assert row["probabilities"] != other["probabilities"]
    said = dlrun(*words, "--tta", "flips")
    assert said.err == "test-time augmentation flips: outputs are means over its views\n"


def test_predicted_masks_are_of_the_means_over_views(
    photos: Path, runs_dir: Path, tmp_path: Path, dlrun: Dlrun
) -> None:
    shapes = {"name": "shapes", "images": 8, "test_images": 4, "size": 16}
    unet = {"name": "unet", "channels": 2, "depth": 1}
    run = trained(
        planned(dataset=shapes, architecture=unet, optimizer={"name": "adam", "lr": 0.05}), runs_dir
    )
    model = opened(run, Parts())
    image = model.loaded["test"].raw()[:1]
    Image.fromarray(image[0, 0].numpy()).save(photos / "a.png")
    assert dlrun("predict", run.folder, photos / "a.png", "--tta", "d4", "--out", tmp_path / "out").code == 0
    outputs = take_views(model, "d4").outputs_at(image)[0, 0]
    with Image.open(tmp_path / "out/a.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask), outputs.argmax(0))
    assert not bool((outputs.argmax(0) == model.outputs_at(image)[0, 0].argmax(0)).all())


@pytest.mark.parametrize("words", [("eval", "last"), ("predict", "last", "new.csv")])
def test_a_model_of_no_images_is_refused(words: tuple[str, ...], runs_dir: Path, dlrun: Dlrun) -> None:
    run = trained(planned(epochs=1), runs_dir)
    done = dlrun(*words, "--tta", "flip")
    assert done.code == 2 and done.out == ""
    assert "the inputs of spiral have the shape 2" in done.err and "fix: leave out --tta" in done.err
    assert not (run.folder / "eval").exists()


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (("eval", "last", "--augment"), "write --tta flip"),
        (("predict", "last", "--test_time_augmentation", "a.png"), "write --tta flip a.png"),
        (("plot", "last", "--tta", "flip"), "dlrun eval RUN --tta flip, and predict, average over views"),
    ],
)
def test_the_words_of_other_tools_lead_to_it(words: tuple[str, ...], fix: str, dlrun: Dlrun) -> None:
    done = dlrun(*words)
    assert done.code == 2 and f"  fix: {fix}" in done.err
