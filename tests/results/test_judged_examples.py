"""Each example of a split with its truth, its prediction and its loss, the worst first."""

from __future__ import annotations

import csv
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_runs import lines_of_points, own_parts, planned, trained

from dlrun.blocks.class_reports import most_confused
from dlrun.config.registry import Parts
from dlrun.results.judged_examples import judged_examples
from dlrun.training.opening import open_checkpoint
from dlrun.training.trained import Trained

Dlrun = Callable[..., Any]


def opened(tmp_path: Path, **changes: Any) -> Trained:
    parts = own_parts(tmp_path)
    run = trained(planned(parts, **changes), tmp_path)
    return open_checkpoint(run.best, run, [], parts, tmp_path)[0]


def test_classes_stand_with_truth_prediction_probabilities_and_loss(tmp_path: Path) -> None:
    model = opened(tmp_path, seeds=[0, 3])
    rows = list(judged_examples(model, "test"))
    outputs, targets = model.outputs("test")
    losses = torch.stack([F.cross_entropy(own, targets, reduction="none") for own in outputs]).mean(0)
    order = losses.argsort(descending=True).tolist()
    assert [row["loss"] for row in rows] == pytest.approx(losses[order].tolist(), rel=1e-5)
    assert [row["input"] for row in rows[:3]] == [f"example {index + 1}" for index in order[:3]]
    shares = outputs.softmax(-1).mean(0)
    for row, index in zip(rows, order, strict=True):
        assert row["true"] == model.data.classes[targets[index]]
        assert row["class"] == model.data.classes[shares[index].argmax()]
        assert list(row["probabilities"].values()) == pytest.approx(shares[index].tolist(), abs=1e-6)


def test_of_many_classes_the_probabilities_of_truth_and_prediction_are_shown(tmp_path: Path) -> None:
    model = opened(tmp_path, dataset={"name": "spiral", "points": 3, "classes": 21}, epochs=1)
    outputs, targets = model.outputs("test")
    shares = outputs[0].softmax(-1)
    for row in judged_examples(model, "test"):
        index = int(row["input"].split()[1]) - 1
        assert "probabilities" not in row
        assert row["probability of true"] == pytest.approx(float(shares[index, targets[index]]), abs=1e-6)
        assert row["probability"] == pytest.approx(float(shares[index].max()), abs=1e-6)


def test_numbers_stand_with_their_estimates(tmp_path: Path) -> None:
    model = opened(tmp_path, dataset="days", loss="mse", metrics=[])
    _, targets = model.outputs("test")
    rows = list(judged_examples(model, "test"))
    for row in rows:
        assert row["loss"] == pytest.approx((row["warmth"] - row["true"]) ** 2, rel=1e-4)
    assert sorted(row["true"] for row in rows) == sorted(targets[:, 0].tolist())
    several = list(judged_examples(opened(tmp_path, dataset="line", loss="mse", metrics=[]), "test"))
    assert {"true 1", "true 2", "prediction 1", "prediction 2"} <= several[0].keys()


def test_a_class_at_each_place_leaves_the_loss(tmp_path: Path) -> None:
    sentences = {"name": "sentences", "count": 60, "window": 16}
    architecture = {"name": "rnn", "hidden": 4, "embedding": 3}
    model = opened(tmp_path, dataset=sentences, architecture=architecture, epochs=1)
    rows = list(judged_examples(model, "test"))
    outputs, targets = model.outputs("test")
    losses = F.cross_entropy(outputs[0], targets, reduction="none").mean(1)
    assert rows[0].keys() == {"input", "loss"}
    assert rows[0]["loss"] == pytest.approx(float(losses.max()), rel=1e-5)


def test_examples_are_named_and_marked_where_they_were_trained_on(
    dlrun: Dlrun, write: Callable[[str, str], Path], tmp_path: Path
) -> None:
    parts = own_parts(tmp_path)
    lines = lines_of_points(40)
    data = write("points.txt", "\n".join(lines))
    run = trained(planned(parts, dataset={"name": "points", "path": str(data)}), tmp_path)
    mixed = write("mixed.txt", "\n".join([*lines[28:32], *lines_of_points(3, seed=8)]))
    words = ("eval", run.folder, "--parts", parts.folder, "--csv")
    done = dlrun(*words, "--on", mixed)
    rows = list(csv.DictReader(StringIO(done.out)))
    assert done.code == 0 and len(rows) == 7 and "2 of them were trained on" in done.err
    marked = {row["input"]: row["trained_on"] for row in rows}
    assert marked == {f"line {n}": "yes" if n <= 2 else "no" for n in range(1, 8)}
    losses = [float(row["loss"]) for row in rows]
    assert losses == sorted(losses, reverse=True)
    for split, count in (("test", 10), ("train", 30)):
        found = list(csv.DictReader(StringIO(dlrun(*words, "--split", split).out)))
        assert {row["input"] for row in found} == {
            f"line {n}" for n in (range(31, 41) if split == "test" else range(1, 31))
        }
        assert len(found) == count
    assert dlrun(*words, "--json").code == 2


# ------------------------------------------------------------------------ confusions in the report


def test_the_pairs_most_often_confused_are_those_of_the_matrix(tmp_path: Path, dlrun: Dlrun) -> None:
    counts = torch.tensor([[[5, 2, 0], [1, 7, 4], [3, 0, 9]], [[5, 4, 0], [1, 7, 4], [0, 0, 9]]])
    assert most_confused(counts, ["a", "b", "c"]) == [
        {"true": "b", "predicted": "c", "count": 4.0},
        {"true": "a", "predicted": "b", "count": 3.0},
        {"true": "c", "predicted": "a", "count": 1.5},
        {"true": "b", "predicted": "a", "count": 1.0},
    ]
    assert most_confused(torch.eye(3).long().unsqueeze(0), ["a", "b", "c"]) == []
    run = trained(planned(seeds=[0, 1]), tmp_path)
    assert "most often confused: arm " in dlrun("eval", run.folder).out


def test_of_many_classes_the_worst_are_shown(tmp_path: Path, dlrun: Dlrun) -> None:
    many = {"name": "spiral", "points": 20, "classes": 22}
    run = trained(planned(dataset=many, epochs=20), tmp_path)
    shown = dlrun("eval", run.folder).out
    model, _ = open_checkpoint(run.best, run, [], Parts(), tmp_path)
    outputs, targets = model.outputs("test")
    said = outputs[0].argmax(1)
    f1 = {}
    for index, name in enumerate(model.data.classes):
        right = int(((said == index) & (targets == index)).sum())
        f1[name] = 2 * right / int((said == index).sum() + (targets == index).sum())
    best = sorted(f1, key=f1.__getitem__)[-1]
    listed = [line.strip().split("  ")[0] for line in shown.splitlines() if line.strip().startswith("arm ")]
    assert len(listed) == 20 and best not in listed
    assert "the 20 of 22 classes with the lowest f1; --json has all" in shown
