"""A file of another kind than the model takes is named as such."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from small_runs import planned, trained

TABLE = "a,y\n" + "".join(f"{x},{2 * x}\n" for x in range(20))


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A file of each kind."""
    found = {kind: tmp_path / f"input.{kind}" for kind in ("png", "csv", "pdf", "txt")}
    Image.new("L", (8, 8), 7).save(found["png"])
    found["csv"].write_text(TABLE)
    found["pdf"].write_bytes(b"%PDF-1.7 \xff\xfe\0")
    found["txt"].write_text("abcabcabc" * 40)
    return found


def of_points(files: dict[str, Path]) -> dict[str, Any]:
    return {}


def of_a_table(files: dict[str, Path]) -> dict[str, Any]:
    dataset = {"name": "csv", "path": str(files["csv"]), "target": "y"}
    return {"dataset": dataset, "loss": "mse", "metrics": []}


def of_images(files: dict[str, Path]) -> dict[str, Any]:
    return {
        "dataset": {"name": "shapes"},
        "architecture": {"name": "unet", "channels": 2},
        "metrics": [],
        "limit": 16,
    }


def of_texts(files: dict[str, Path]) -> dict[str, Any]:
    dataset = {"name": "text_file", "path": str(files["txt"]), "window": 8}
    return {"dataset": dataset, "architecture": {"name": "rnn", "hidden": 4}}


@pytest.mark.parametrize(
    ("of", "given", "said"),
    [
        (of_points, "png", "this is a PNG image; the model takes tables"),
        (of_a_table, "png", "this is a PNG image; the model takes tables"),
        (of_a_table, "pdf", "this is a PDF file; the model takes tables"),
        (of_images, "csv", "this is a table; the model takes images"),
        (of_images, "pdf", "this is a PDF file; the model takes images"),
        (of_texts, "png", "this is a PNG image; the model takes texts"),
    ],
)
def test_a_file_of_another_kind_is_said_with_what_the_model_takes(
    of: Callable[[dict[str, Path]], dict[str, Any]],
    given: str,
    said: str,
    files: dict[str, Path],
    dlrun: Callable[..., Any],
    tmp_path: Path,
) -> None:
    run = trained(planned(**{"epochs": 1, **of(files)}), tmp_path)
    done = dlrun("predict", run.folder, files[given])
    assert (done.code, f"error: {said}" in done.err) == (2, True), done.err
    assert str(files[given]) in done.err


def test_a_file_of_the_right_kind_that_cannot_be_read_has_its_own_message(
    files: dict[str, Path], dlrun: Callable[..., Any], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(files["png"].read_bytes()[:40])
    run = trained(planned(**{"epochs": 1, **of_images(files)}), tmp_path)
    done = dlrun("predict", run.folder, broken)
    assert (done.code, "the image cannot be read" in done.err) == (2, True), done.err
