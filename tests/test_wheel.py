"""dlrun installed from a wheel trains in any folder, with the shipped configs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built with what is installed here: no network."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    options = ["--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(folder)]
    done = subprocess.run([*pip, *options, str(PROJECT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [built] = folder.glob("dlrun-*.whl")
    return built


def test_the_wheel_carries_the_parts_and_the_configs_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    files = [*(PROJECT / "dlrun").rglob("*.py"), *(PROJECT / "dlrun" / "console" / "report_files").iterdir()]
    for file in files:
        assert str(file.relative_to(PROJECT)) in names
    for file in (PROJECT / "configs").rglob("*.*"):
        assert f"dlrun/{file.relative_to(PROJECT)}" in names
    assert {Path(name).parts[0].split("-")[0] for name in names} == {"dlrun"}
    assert not [name for name in names if name.endswith((".pyc", ".pt", ".csv"))]


def test_a_shipped_config_is_trained_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    installed, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", "--target", str(installed), str(wheel)], check=True)
    environment = os.environ | {"PYTHONPATH": str(installed)}
    code = "import dlrun; from dlrun.config import lookup; print(dlrun.__file__, lookup.shipped_folder())"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=empty, env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == [str(installed / "dlrun" / name) for name in ("__init__.py", "configs")]
    command = [sys.executable, "-m", "dlrun", "train", "spiral_relu", "epochs=2", "plots=[]", "--quiet"]
    trained = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True)
    assert (trained.returncode, trained.stdout, trained.stderr) == (0, "runs/spiral_relu-001\n", "")
    run = empty / "runs" / "spiral_relu-001"
    assert (run / "checkpoints" / "best.pt").exists()
    assert [path.name for path in empty.iterdir()] == ["runs"]
