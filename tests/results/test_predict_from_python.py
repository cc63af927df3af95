"""`dlrun.load(run).predict(…)` predicts as `dlrun predict` does, whatever the inputs are given as."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
import torch
from PIL import Image
from small_runs import own_parts, planned, trained
from torch import Tensor

import dlrun
from dlrun.config.registry import Parts
from dlrun.results.prediction import predict_files
from dlrun.run_folders.run import Run
from dlrun.training.opening import open_checkpoint

UNET = {"name": "unet", "channels": 2, "depth": 1}
TASKS: dict[str, dict[str, Any]] = {
    "classes": {"seeds": [0, 3]},
    "two classes by one logit": {
        "dataset": {"name": "spiral", "points": 60, "classes": 2},
        "loss": "bce",
        "seeds": [0, 3],
    },
    "numbers": {"dataset": "line", "loss": "mse", "metrics": [], "seeds": [0, 3]},
    "a class for each pixel": {
        "dataset": {"name": "shapes", "images": 8, "test_images": 6, "size": 16},
        "architecture": UNET,
        "metrics": [],
        "seeds": [0, 3],
    },
    "images": {"dataset": "dots", "architecture": {"name": "mlp", "flatten": True}},
    "points of an embedding": {"task": "embedding", "loss": "triplet", "metrics": []},
}


def run_of(task: str, tmp_path: Path, parts: Parts, **changes: Any) -> Run:
    return trained(planned(parts, **{"epochs": 1} | TASKS[task] | changes), tmp_path)


@pytest.mark.parametrize("task", TASKS)
def test_predictions_are_those_of_the_evaluation(task: str, tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = run_of(task, tmp_path, parts)
    opened, _ = open_checkpoint(run.best, run, [], parts, Path("no-data"))
    outputs, _ = opened.outputs("test")
    model = dlrun.load(run.folder, parts=parts.folder)
    raw = opened.loaded["test"].raw()
    found = model.predict(raw)
    decision = opened.plan.task.decision
    if task == "a class for each pixel":
        assert decision is not None
        assert torch.equal(
            found, torch.stack([opened.plan.task.decided(outputs[:, n]) for n in range(len(raw))])
        )
        assert model.probabilities(raw).shape == outputs.shape[1:]
        assert torch.equal(model.probabilities(raw).argmax(1), found)
    elif decision:
        shares = decision.probabilities(outputs).mean(0)
        torch.testing.assert_close(model.probabilities(raw), shares, rtol=1e-5, atol=1e-6)
        assert found == [model.classes[number] for number in shares.argmax(1).tolist()]
        assert [row["class"] for row in model.predictions(raw)] == found
    else:
        torch.testing.assert_close(found, outputs.mean(0), rtol=1e-5, atol=1e-6)
        with pytest.raises(dlrun.UserError, match="has no classes, and so no probabilities"):
            model.probabilities(raw)


def test_one_target_is_a_number_for_each_input(tmp_path: Path, write: Callable[[str, str], Path]) -> None:
    table = write("t.csv", "x,y\n" + "".join(f"{n},{2 * n}\n" for n in range(30)))
    dataset = {"name": "csv", "path": str(table), "target": "y"}
    run = trained(planned(dataset=dataset, loss="mse", metrics=[], epochs=1), tmp_path)
    model, new = dlrun.load(run.folder), write("new.csv", "x\n3\n5\n")
    rows = predict_files(run.best, [new], Parts(), tmp_path).rows()
    frame = pandas.DataFrame({"x": [3, 5]})
    for given in (new, str(new), [new], frame):
        found = model.predict(given)
        assert found.tolist() == pytest.approx([row["y"] for row in rows], rel=1e-6)
    assert model.predictions(frame) == predict_files(run.best, [new], Parts(), tmp_path).rows()
    with pytest.raises(dlrun.UserError, match="row 3 cannot be predicted: "):
        model.predict(write("bad.csv", "x\n3\nabc\n"))
    assert "problem" in model.predictions(tmp_path / "bad.csv")[1]


def test_images_are_taken_as_files_as_pictures_and_as_arrays(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = run_of("images", tmp_path, parts)
    model = dlrun.load(run.folder, parts=parts.folder)
    pixels = torch.randint(0, 200, (3, 1, 8, 8), dtype=torch.uint8)
    pictures = [Image.fromarray(each[0].numpy()) for each in pixels]
    (tmp_path / "new").mkdir()
    for number, each in enumerate(pictures):
        each.save(tmp_path / "new" / f"{number}.png")
    with warnings.catch_warnings(action="ignore"):  # random images lie far outside of the training images
        wanted = model.probabilities(tmp_path / "new")
        assert wanted.shape == (3, 3)
        for given in (
            pixels,
            pixels.numpy(),
            pixels.tolist(),
            pictures,
            sorted((tmp_path / "new").iterdir()),
        ):
            torch.testing.assert_close(model.probabilities(given), wanted, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(model.probabilities(pictures[0]), wanted[:1], rtol=1e-6, atol=1e-7)


def test_inputs_that_do_not_fit_are_refused_with_what_fits(tmp_path: Path) -> None:
    run = trained(planned(epochs=1), tmp_path)
    model = dlrun.load(run.folder)
    for given, said in (
        (torch.zeros(4, 3), r"the input has the shape \(4, 3\), and the model takes \(n, 2\)"),
        (
            torch.zeros(2),
            r"the input has the shape \(2,\), and the model takes \(n, 2\)\n  fix: .* x\[None\]",
        ),
        (numpy.array([["a", "b"]]), "the input is no array of numbers"),
        (tmp_path / "nothing.csv", "there is no file"),
        (torch.zeros(0, 2), "there is no input"),
    ):
        with pytest.raises(dlrun.UserError, match=said):
            model.predict(given)


def test_a_calibration_is_used_and_one_of_other_weights_is_not(
    dlrun_command: Callable[..., Any], tiny: Path, runs_dir: Path, write: Callable[[str, str], Path]
) -> None:
    words = ("dataset={name: spiral, points: 40, classes: 2, valid_fraction: 0.3}", "loss=bce", "epochs=1")
    assert dlrun_command("train", tiny, *words).code == 0
    plain = dlrun.load("last", runs_dir=runs_dir)
    drawn = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)).tolist()
    points = write("points.csv", "a,b\n" + "".join(f"{x},{y}\n" for x, y in drawn))
    assert dlrun_command("calibrate", "last", "--threshold", "f1").code == 0
    calibrated = dlrun.load("last", runs_dir=runs_dir)
    run = next(runs_dir.glob("tiny-001"))
    rows = predict_files(run / "checkpoints" / "best.pt", [points], Parts(), Path("no-data")).rows()
    assert calibrated.predict(points) == [row["class"] for row in rows]
    kept = json.loads((run / "checkpoints" / "best.calibration.json").read_text())
    [(name, threshold)] = kept["threshold"]["above"].items()
    shares = calibrated.probabilities(points)[:, calibrated.classes.index(name)]
    assert [each == name for each in calibrated.predict(points)] == (shares > threshold).tolist()
    assert dlrun_command("calibrate", "last").code == 0
    calibrated = dlrun.load("last", runs_dir=runs_dir)
    rows = predict_files(run / "checkpoints" / "best.pt", [points], Parts(), Path("no-data")).rows()
    wanted = [list(row["probabilities"].values()) for row in rows]
    torch.testing.assert_close(calibrated.probabilities(points), torch.tensor(wanted), rtol=1e-5, atol=1e-6)
    assert not torch.equal(calibrated.probabilities(points), plain.probabilities(points))
    inputs = torch.zeros(3, 2)
    assert torch.equal(calibrated.model(inputs), plain.model(inputs)), "the module is as it was trained"


def test_it_evaluates_and_knows_its_metrics(tmp_path: Path) -> None:
    run = trained(planned(seeds=[0, 3], epochs=2), tmp_path)
    model = dlrun.load(run.folder)
    assert model.evaluate("train")["split"] == "train"
    assert [row["epoch"] for row in model.metrics] == [1, 1, 2, 2]
    assert repr(model).startswith(f"<TrainedModel of {run.name}: mlp, 2 seeds, epoch ")
    with pytest.raises(dlrun.UserError, match="a checkpoint file alone has no metrics"):
        dlrun.load(run.best).metrics  # noqa: B018
    with pytest.raises(dlrun.UserError, match="leave one out"):
        model.evaluate("test", on="x.csv")


def test_labels_and_tokens_are_taken_and_given(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, LABELLED)
    changes = {"dataset": "labelled", "loss": "bce", "metrics": [], "seeds": [0, 3], "epochs": 1}
    run = trained(planned(parts, **changes), tmp_path)
    model, inputs = dlrun.load(run.folder, parts=parts.folder), torch.randn(5, 4)
    shares = model.probabilities(inputs)
    labels = ("left", "right")
    assert model.predict(inputs) == [
        [name for name, share in zip(labels, row, strict=True) if share > 0.5] for row in shares.tolist()
    ]


LABELLED = {
    "dataset/labelled.py": '''
import torch
from dlrun.data.examples import Data, Examples


def labelled(root):
    """Two labels, of which each may apply."""

    def read():
        x = torch.randn(40, 4, generator=torch.Generator().manual_seed(1))
        y = (x[:, :2] > 0).float()
        return {"train": Examples(x, y), "test": Examples(x[:10], y[:10])}

    return Data("multilabel", (4,), read, classes=("left", "right"))
'''
}


def test_texts_are_predicted_as_they_are(dlrun_command: Callable[..., Any], runs_dir: Path) -> None:
    words = ("epochs=1", "limit=60", "architecture.hidden=[4]", "plots=[]", "expect={}", "--quiet")
    assert dlrun_command("train", "reviews_bag", *words).code == 0
    model = dlrun.load("last", runs_dir=runs_dir)
    shares: Tensor = model.probabilities(["a good film", "a bad film"])
    assert shares.shape == (2, 2)
    assert model.predict("a good film") == [model.classes[int(shares[0].argmax())]]


def test_numbers_that_are_not_finite_are_refused_alone(tmp_path: Path) -> None:
    run = trained(planned(epochs=1), tmp_path)
    model = dlrun.load(run.folder)
    inputs = torch.tensor([[0.1, 0.2], [float("nan"), 0.0], [0.3, float("inf")]])
    with pytest.raises(dlrun.UserError, match="input 2 cannot be predicted: it has a number"):
        model.predict(inputs)
    rows = model.predictions(inputs)
    assert ["problem" in row for row in rows] == [False, True, True]
    assert rows[0]["class"] == model.predict(inputs[:1])[0]


def test_a_picture_is_turned_as_it_is_shown_and_a_far_one_is_warned_of_once(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = run_of("images", tmp_path, parts)
    model = dlrun.load(run.folder, parts=parts.folder)
    image = Image.fromarray(torch.arange(64, dtype=torch.uint8).view(8, 8).mul(2).numpy())
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter
    image.save(tmp_path / "turned.png", exif=exif)
    with warnings.catch_warnings(action="ignore"):
        wanted = model.probabilities(tmp_path / "turned.png")
        assert torch.equal(model.probabilities(Image.open(tmp_path / "turned.png")), wanted)
        assert not torch.equal(model.probabilities(image), wanted)
        mixed = [image, str(tmp_path / "turned.png"), image.convert("CMYK")]
        assert model.probabilities(mixed).shape == (3, 3)
    with pytest.raises(dlrun.UserError, match="image 1 has pixels of floats"):
        model.predict(image.convert("F"))
    far = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    usual = open_checkpoint(run.best, run, [], parts, Path("no-data"))[0].loaded["train"].raw()[:2]
    with pytest.warns(UserWarning, match="lies far outside"):
        model.predict(far)
    with warnings.catch_warnings(action="error"):
        model.predict(usual)


def test_a_choice_that_there_is_not_is_no_other_one(tmp_path: Path) -> None:
    run = trained(planned(epochs=1), tmp_path)
    wrong: Any = "lst"
    with pytest.raises(dlrun.UserError, match="checkpoint is 'best' or 'last', not 'lst'"):
        dlrun.load(run.folder, checkpoint=wrong)
    model = dlrun.load(dlrun.Run(run.folder))
    with pytest.raises(dlrun.UserError, match="on= is the path of a file or a folder"):
        model.evaluate(on="")
    with pytest.raises(dlrun.UserError, match="there is no split 'tst'; did you mean 'test'"):
        model.evaluate(wrong.replace("l", "t"))
