"""`dlrun calibrate`, and what eval, predict and plot say afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SMALL = """\
name: small
dataset: {name: csv, path: PATH, target: kind, task: classification, valid_fraction: 0.3}
architecture: {name: mlp, hidden: [4]}
loss: cross_entropy
optimizer: {name: adam, lr: 0.05}
epochs: 3
batch_size: 16
metrics: [accuracy, log_loss]
device: cpu
plots: []
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table whose classes overlap."""
    rows = [f"{x % 7},{(3 * x) % 5},{'ab'[(x % 7 + x % 3) > 4]}" for x in range(120)]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["x,y,kind", *rows]) + "\n")
    (tmp_path / "small.yaml").write_text(SMALL.replace("PATH", str(path)))
    return path


def test_eval_and_predict_use_the_temperature_and_say_so(table: Path, dlrun: Callable[..., Any]) -> None:
    assert dlrun("train", table.parent / "small.yaml").code == 0
    raw = json.loads(dlrun("eval", "last", "--split", "valid", "--json").out)
    shares = [
        row["probability"] for row in json.loads(dlrun("predict", "last", table, "--json").out)["predictions"]
    ]
    done = dlrun("calibrate", "last")
    assert done.code == 0 and "temperature " in done.out and "test_ece" in done.out
    [temperature] = json.loads(dlrun("calibrate", "last", "--json").out)["temperatures"]
    found = json.loads(dlrun("eval", "last", "--split", "valid", "--json").out)
    assert found["temperatures"] == [temperature] and found["recorded"] == {} and raw["recorded"]
    assert found["metrics"]["accuracy"] == raw["metrics"]["accuracy"]
    assert found["metrics"]["log_loss"] != raw["metrics"]["log_loss"]
    told = json.loads(dlrun("predict", "last", table, "--json").out)
    assert told["temperatures"] == [temperature]
    assert all(one["probability"] != other for one, other in zip(told["predictions"], shares, strict=True))
    said = dlrun("predict", "last", table)
    assert f"calibrated probabilities: temperature {temperature:.3g}" in said.err
    assert f"temperature {temperature:.3g}, " in dlrun("eval", "last").out
    assert "temperatures" not in raw
    assert dlrun("calibrate", "last", "--remove").code == 0
    assert json.loads(dlrun("eval", "last", "--split", "valid", "--json").out) == raw
    again = dlrun("calibrate", "last", "--remove")
    assert again.code == 2 and "was not calibrated" in again.err


def test_a_picture_of_a_calibrated_model_says_so(
    table: Path, dlrun: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlrun.drawing import style

    titles: list[str] = []
    put_title = style.titled
    monkeypatch.setattr(style, "titled", lambda figure, text: titles.append(text) or put_title(figure, text))
    assert dlrun("train", table.parent / "small.yaml").code == 0
    assert dlrun("plot", "last", "confusion_matrix").code == 0
    assert dlrun("calibrate", "last").code == 0
    assert dlrun("plot", "last", "confusion_matrix").code == 0
    before, after = titles
    assert "calibrated" not in before and " · calibrated · " in after


def test_eval_and_predict_decide_by_the_threshold_and_say_so(table: Path, dlrun: Callable[..., Any]) -> None:
    assert dlrun("train", table.parent / "small.yaml").code == 0
    raw = json.loads(dlrun("eval", "last", "--split", "valid", "--json").out)
    done = dlrun("calibrate", "last", "--threshold", "balanced_accuracy")
    assert done.code == 0 and "test_balanced_accuracy" in done.out
    assert "precision and recall are those of b; the validation figures" in done.out
    assert "by which the threshold was chosen" in done.out and "chosen by balanced_accuracy on" in done.out
    assert "are optimistic, the test figures are not" in done.out
    again = json.loads(dlrun("calibrate", "last", "--threshold", "balanced_accuracy", "--json").out)
    threshold = again["threshold"]["above"]["b"]
    words = f"b above a probability of {threshold:.3g}"
    assert words in done.out and threshold != 0.5

    found = json.loads(dlrun("eval", "last", "--split", "valid", "--json").out)
    assert found["thresholds"] == {"b": threshold}
    assert {*raw["recorded"]} - {*found["recorded"]} == {"accuracy"}
    assert "threshold was chosen on these examples" in " ".join(found["warnings"])
    said = dlrun("eval", "last").out
    assert f", {words}, " in said and "figures of decisions are by the threshold" in said
    assert "chosen on these examples" not in said
    on_all = json.loads(dlrun("eval", "last", "--on", table, "--json").out)
    chosen_on = f"the threshold was chosen on {found['examples']} of these examples: figures of decisions"
    assert chosen_on in " ".join(on_all["warnings"]) and found["examples"] < on_all["examples"] == 120
    new = table.with_name("new.csv")
    new.write_text("x,y,kind\n9.5,9,a\n8.5,9,b\n")
    assert "chosen on" not in " ".join(
        json.loads(dlrun("eval", "last", "--on", new, "--json").out)["warnings"]
    )
    rows = dlrun("eval", "last", "--csv")
    assert f"predicted: {words}" in rows.err and words not in rows.out

    told = json.loads(dlrun("predict", "last", table, "--json").out)
    assert told["thresholds"] == {"b": threshold}
    for row in told["predictions"]:
        assert (row["class"] == "b") is (row["probabilities"]["b"] > threshold)
    shown = dlrun("predict", "last", table)
    assert f"predicted: {words}" in shown.err
    for line in shown.out.splitlines():
        assert not {"a", "b"} & {*line.split()} or {"a", "b"} <= {*line.split()}, "class and the next one"

    done = dlrun("calibrate", "last")
    assert f"the threshold ({words}) was chosen at other temperatures, and is dropped" in done.out
    assert "dlrun calibrate small-001 --threshold balanced_accuracy" in done.out
    assert dlrun("calibrate", "last", "--threshold", "kappa").code == 0
    assert "the threshold stays: b above" in dlrun("calibrate", "last").out
    assert dlrun("calibrate", "last", "--remove", "--threshold", "f1").code == 2
    assert dlrun("calibrate", "last", "--remove").code == 0
    assert json.loads(dlrun("eval", "last", "--split", "valid", "--json").out) == raw


def test_a_slip_in_the_metric_chooses_nothing_and_is_named(table: Path, dlrun: Callable[..., Any]) -> None:
    assert dlrun("train", table.parent / "small.yaml").code == 0
    for given, said in (
        ("", "--threshold takes the name of a metric, such as f1, not ''"),
        ("0.3", "--threshold takes the name of a metric, such as f1, not '0.3'"),
        ("f2", "there is no metrics/f2.py"),
    ):
        refused = dlrun("calibrate", "last", "--threshold", given)
        assert refused.code == 2 and said in refused.err
    refused = dlrun("calibrate", "last", "--thresholds", "f1")
    assert refused.code == 2 and "fix: write --threshold f1" in refused.err
    assert "was not calibrated" in dlrun("calibrate", "last", "--remove").err


@pytest.mark.parametrize(
    ("words", "is_said"),
    [
        ((), False),
        (("loss.class_weight=balanced",), True),
        (("loss.class_weight={a: 1, b: 3}",), True),
        (("sampling=balanced",), True),
    ],
)
def test_what_a_temperature_cannot_undo_is_said(
    words: tuple[str, ...], is_said: bool, table: Path, dlrun: Callable[..., Any]
) -> None:
    assert dlrun("train", table.parent / "small.yaml", *words).code == 0
    done = dlrun("calibrate", "last")
    assert done.code == 0
    said = "classes count in its training otherwise than they occur" in " ".join(
        (done.out + done.err).split()
    )
    assert said is is_said
