"""`dlrun new` writes a part that runs as it is, and never over a file or a part that is there."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlrun.config.registry import FOLDERS, Parts, read_part
from dlrun.console.commands.arguments import kind_named
from dlrun.run_folders.run import Run

Dlrun = Callable[..., Any]
SMALL = ("dataset.points=20", "epochs=2", "plots=[]")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_new_part_runs_at_once_by_the_command_that_is_printed(
    kind: str, dlrun: Dlrun, runs_dir: Path
) -> None:
    done = dlrun("new", kind, "mine")
    path, command = done.out.splitlines()
    assert (done.code, done.err, path) == (0, "", f"my_parts/{kind}/mine.py")
    program, *words = shlex.split(command.removeprefix("try: "))
    assert program == "dlrun"
    small = SMALL[:-1] if kind == "plots" else SMALL
    trained = dlrun(*words, *small)
    assert (trained.code, trained.err) == (0, "")
    part = read_part(kind, Path(path))
    assert list(part.about.meanings) == list(part.options), "an entry for each option"
    assert part.summary
    assert part.options or kind == "task", "a task has no options"
    config = Run(runs_dir / "spiral_relu-001").config.read_text()
    assert "mine" in config
    if kind == "plots":
        assert (runs_dir / "spiral_relu-001/plots/mine.png").exists()


@pytest.mark.parametrize(
    ("spelling", "kind"),
    [
        *((kind, kind) for kind in FOLDERS),
        *(("metric", "metrics"), ("plot", "plots"), ("augmentation", "augmentations")),
        *(("losses", "loss"), ("tasks", "task"), ("datasets", "dataset"), ("optimizers", "optimizer")),
    ],
)
def test_a_kind_is_known_in_the_singular_and_the_plural(spelling: str, kind: str) -> None:
    assert kind_named(spelling) == kind


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("los", "mine", "did you mean 'loss'?"),
        ("loss", "2nd", "small letters"),
        ("loss", "my-loss", "small letters"),
        ("loss", "Focal", "small letters"),  # the registry looks for no such file
        ("loss", "../mine", "small letters"),
        ("loss", "mine\n", "small letters"),
        ("loss", "lambda", "no word of Python"),
        ("loss", "", "small letters"),
        ("loss", "mse", "dlrun has loss/mse.py itself"),
        ("loss", "outputs", "the name outputs stands for something else"),
        ("architecture", "range", "the name range means something else in Python or in a config"),
        ("loss", "null", "the name null means something else in Python or in a config"),
        ("loss", "true", "the name true means something else"),
        ("plots", "auto", "the name auto means something else"),
        ("metrics", "loss", "the name loss means something else"),
        ("metrics", "task", "the name task stands for something else"),
        ("architecture", "prod", "the name prod stands for something else"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_with_the_remedy(
    kind: str, name: str, said: str, dlrun: Dlrun, tmp_path: Path
) -> None:
    done = dlrun("new", kind, name)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_never_overwritten(dlrun: Dlrun) -> None:
    dlrun("new", "loss", "mine")
    path = Path("my_parts/loss/mine.py")
    path.write_text("# my work\n")
    done = dlrun("new", "loss", "mine")
    assert (done.code, path.read_text()) == (2, "# my work\n")
    assert "exists already" in done.err


@pytest.mark.parametrize("by", ["option", "variable"])
def test_the_folder_of_parts_is_the_one_that_is_named(
    by: str, dlrun: Dlrun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by == "variable":
        monkeypatch.setenv("DLRUN_PARTS", "their parts")
    done = dlrun("new", "metric", "mine", *(("--parts", "their parts") if by == "option" else ()))
    assert done.code == 0
    assert "--parts 'their parts'" in done.out
    assert "mine" in Parts(tmp_path / "their parts").names("metrics")
    assert [path.name for path in tmp_path.iterdir()] == ["their parts"]


def test_a_folder_that_is_a_file_is_an_error(dlrun: Dlrun) -> None:
    Path("my_parts").write_text("")
    done = dlrun("new", "plot", "mine")
    assert (done.code, done.out) == (1, "")
    assert "my_parts is not a folder" in done.err
