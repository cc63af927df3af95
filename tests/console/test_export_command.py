"""`dlrun export`: what it prints, where it writes, and what it says to a slip."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlrun.training.checkpoint import load_checkpoint, save_checkpoint

Dlrun = Callable[..., Any]


@pytest.fixture
def run(dlrun: Dlrun, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert dlrun("train", tiny, "epochs=1").code == 0


@pytest.mark.usefixtures("run")
def test_it_says_what_the_file_takes_and_gives_and_how_near_it_is(dlrun: Dlrun) -> None:
    pytest.importorskip("safetensors")
    done = dlrun("export", "last", "--format", "safetensors")
    assert (done.code, done.err) == (0, "")
    assert "tiny-001, epoch 1, seed 0" in done.out
    assert "probabilities  (batch, 3)  float32" in done.out
    assert "probabilities are as trained: dlrun calibrate last fits a temperature first" in done.out
    assert "compared on 60 test examples, the largest difference from dlrun is 0" in done.out
    assert Path("tiny-001.safetensors").is_file()
    found = json.loads(dlrun("export", "last", "-o", "other.safetensors", "--json").out)
    assert (found["format"], found["bytes"]) == ("safetensors", Path("other.safetensors").stat().st_size)
    assert found["compared"] == {"examples": 60, "split": "test", "difference": 0.0}
    assert found["inputs"] == [{"name": "inputs", "shape": ["batch", 2], "dtype": "float32"}]


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("last", "-o", "tiny.yaml", "--format", "torch"), "tiny.yaml exists already"),
        (("last", "-o", "nowhere/model.pt2"), "there is no folder"),
        (("last", "-o", "model.pt2", "--format", "onnx"), "model.pt2 has the ending of --format torch"),
        (("last", "--seed", "0", "--ensemble"), "--seed takes one seed, and --ensemble all of them"),
        (("last", "--format", "tflite"), "'tflite' is not one of 'onnx', 'torch', 'safetensors'"),
        (("last", "-o", "model.pt2", "--seed", "5"), "the run has no seed 5"),
        (("last", "-o", "model.txt"), "model.txt: .txt says no format"),
        (("last", "-o", "model"), "model: it has no ending"),
        (("nothing",), "nothing"),
    ],
    ids=lambda given: given if isinstance(given, str) else " ".join(given),
)
def test_a_slip_is_named_and_writes_nothing(words: tuple[str, ...], said: str, dlrun: Dlrun) -> None:
    before = {*Path().iterdir()}
    done = dlrun("export", *words)
    assert done.code == 2 and said in done.err and "Value error" not in done.err
    assert {*Path().iterdir()} == before


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    ("package", "format", "fix"),
    [
        ("onnxruntime", "onnx", "pip install 'dlrun[onnx]'"),
        ("safetensors", "safetensors", "pip install safe"),
    ],
)
def test_a_missing_package_is_named_in_one_line_with_the_command_that_installs_it(
    package: str, format: str, fix: str, dlrun: Dlrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    done = dlrun("export", "last", "--format", format)
    assert done.code == 2 and package in done.err and f"fix: {fix}" in done.err
    assert len(done.err.splitlines()) == 2


def test_words_of_other_tools_lead_to_it(dlrun: Dlrun) -> None:
    assert "fix: dlrun export last" in dlrun("convert", "last").err


@pytest.mark.usefixtures("run")
def test_a_run_that_is_not_finished_is_said_and_one_without_an_epoch_refused(
    dlrun: Dlrun, tmp_path: Path
) -> None:
    summary = tmp_path / "runs" / "tiny-001" / "summary.json"
    found = json.loads(summary.read_text())
    summary.write_text(json.dumps(found | {"status": "diverged"}))
    pytest.importorskip("safetensors")
    done = dlrun("export", "last", "--format", "safetensors")
    assert (done.code, done.err) == (
        0,
        "warning: tiny-001 is diverged: its model is that of the epoch that is said\n",
    )
    path = tmp_path / "runs" / "tiny-001" / "checkpoints" / "best.pt"
    saved = load_checkpoint(path)
    save_checkpoint(path, replace(saved, state=saved.state | {"epoch": 0, "epochs": [0]}))
    refused = dlrun("export", "last", "-o", "again.pt2")
    assert refused.code == 2 and "tiny-001 has completed no epoch" in refused.err
