"""docs/export.md: its commands write files, and its code uses them without dlrun."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pages import blocks, page

from dlrun.config.registry import Parts
from dlrun.results.export import SUFFIXES
from dlrun.results.prediction import predict_files

PAGE = page("docs/export.md")
COMMANDS, *CODE = [content for _, _, content in blocks(PAGE)]
WITHOUT_DLRUN = 'import sys\nsys.modules["dlrun"] = None\n'


@pytest.mark.slow
def test_its_code_uses_the_files_that_its_commands_write(
    dlrun: Callable[..., Any], tmp_path: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime", "safetensors"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    train, *exports = [shlex.split(line)[1:] for line in COMMANDS.splitlines()]
    assert dlrun(*train, "epochs=60", "plots=[]", "evaluate_every=60").code == 0
    for words in exports:
        done = dlrun(*words)
        assert done.code == 0, done.err
    Path("points.csv").write_text("x,y\n0.1,-0.3\n0.8,0.2\n")
    rows = predict_files(
        runs_dir / "spiral_relu-001/checkpoints/best.pt", ["points.csv"], Parts(), tmp_path
    ).rows()
    assert len(CODE) == len(SUFFIXES)
    for code in CODE:
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_DLRUN + code], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        for line, row in zip(done.stdout.splitlines(), rows, strict=True):
            name, _, probability = line.rpartition(" ")
            assert (name, float(probability)) == (row["class"], pytest.approx(row["probability"], abs=1e-4))


def test_it_names_the_formats_that_there_are() -> None:
    rows = re.findall(r"^\| `(\w+)`.*? \| `RUN(\.\w+)`", PAGE, re.MULTILINE)
    assert dict(rows) == SUFFIXES
