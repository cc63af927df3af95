"""The weights that a config names are found where they are meant, and a stranger's file runs nothing."""

from __future__ import annotations

import io
import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from small_runs import differences, only_run
from torch import nn

from dlrun.config.loading import load_config
from dlrun.run_folders.listing import runs_in
from dlrun.training import checkpoint
from dlrun.training.checkpoint import load_checkpoint

Dlrun = Callable[..., Any]
Write = Callable[[str, str], Path]


def saved_model(path: Path, wrap: Callable[[dict[str, Any]], Any] = lambda weights: weights) -> Path:
    """A file of the weights of the tiny config's model, 2 → 4 → 3."""
    torch.manual_seed(7)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(wrap(nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3)).state_dict()), path)
    return path


def begun_with(dlrun: Dlrun, tiny: Path, weights: object, *words: object) -> Any:
    """Train a run that begins with some weights and learns nothing."""
    options = ("optimizer={name: sgd, lr: 0.0}", "epochs=1", f"architecture.weights={weights}")
    return dlrun("train", tiny, *options, *words)


class Touch:
    """Pickles as a call that makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def as_legacy(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def as_pickle(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


def as_another_directory(content: Any, path: Path) -> None:
    """A file that zipfile reads as harmless, with a second archive before it."""
    first = io.BytesIO()
    torch.save(content, first)
    good = saved_model(path.with_name("good.pt"))
    path.write_bytes(first.getvalue() + good.read_bytes())


@pytest.mark.parametrize("write", [torch.save, as_legacy, as_pickle, as_another_directory])
@pytest.mark.parametrize("wrap", [lambda it: it, lambda it: {"w": torch.zeros(2), "x": it}])
def test_a_strangers_file_runs_nothing(
    write: Any, wrap: Any, dlrun: Dlrun, tiny: Path, tmp_path: Path, runs_dir: Path
) -> None:
    canary, path = tmp_path / "canary", tmp_path / "hostile.pt"
    write(wrap(Touch(canary)), path)
    done = begun_with(dlrun, tiny, path)
    assert (done.code, canary.exists(), runs_dir.exists()) == (2, False, False)
    assert "its weights cannot be read: checkpoint is damaged (its " in done.err and str(path) in done.err
    assert "torch.save(model.state_dict(), 'weights.pt')" in done.err


def compressed(path: Path) -> Path:
    """The same file, its records compressed: a bomb may hide in those."""
    source = saved_model(path.with_name("plain.pt"))
    with zipfile.ZipFile(source) as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in plain.namelist():
            file.writestr(name, plain.read(name))
    return path


def saved(content: Any) -> Callable[[Path], Path]:
    def save(path: Path) -> Path:
        torch.save(content, path)
        return path

    return save


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def written(path: Path) -> Path:
    path.write_text("weights")
    return path


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("w.h5", written, "is no file of weights (.pt, .pth, .safetensors)"),
        ("w.yaml", written, "is no file of weights (.pt, .pth, .safetensors)"),
        ("w.pt", written, "checkpoint is damaged"),
        ("w.pt", compressed, "a record is compressed"),
        ("w.pt", saved([torch.zeros(2)]), "there are no weights by name"),
        ("w.pt", saved({"epoch": 3}), "there are no weights by name"),
        ("w.pt", saved(nn.Linear(2, 2)), "checkpoint is damaged (its content)"),
        ("w.pt", folder, "is a folder, and not that of a run"),
        ("w.pt", lambda path: path, "there is no run or file"),
        ("w.pt", lambda path: os.mkfifo(path) or path, "a checkpoint must be a file"),
    ],
)
def test_what_holds_no_weights_is_named_before_there_is_a_run(
    name: str,
    make: Callable[[Path], Path],
    said: str,
    dlrun: Dlrun,
    tiny: Path,
    tmp_path: Path,
    runs_dir: Path,
) -> None:
    path = make(tmp_path / name)
    done = begun_with(dlrun, tiny, path)
    assert (done.code, runs_dir.exists()) == (2, False)
    assert "on the command line: architecture.weights: " in done.err
    assert said in done.err and str(path) in done.err, done.err


@pytest.mark.parametrize("entry", ["state_dict", "model_state_dict", "model"])
def test_weights_beside_other_things_are_found(
    entry: str, dlrun: Dlrun, tiny: Path, tmp_path: Path, runs_dir: Path
) -> None:
    path = saved_model(tmp_path / "w.pth", lambda weights: {"epoch": 3, "lr": [0.1], entry: weights})
    assert begun_with(dlrun, tiny, path).code == 0
    assert len(only_run(runs_dir).summary()["weights"]["taken"]) == 4


def test_a_file_of_before_pytorch_1_6_is_read_as_one_of_today(
    dlrun: Dlrun, tiny: Path, tmp_path: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    today, before = saved_model(tmp_path / "today.pt"), tmp_path / "before.pth"
    as_legacy(torch.load(today), before)
    assert not zipfile.is_zipfile(before)
    for path in (today, before):
        assert begun_with(dlrun, tiny, path).code == 0
    one, other = (load_checkpoint(run.last).state["model"] for run in runs_in(runs_dir))
    assert differences(one, other) == []
    raw = before.read_bytes()
    for broken in (raw[: len(raw) - 9], raw[:300], raw.replace(b"0.weight", b"0.we")):
        before.write_bytes(broken)
        assert "checkpoint is damaged (its content)" in begun_with(dlrun, tiny, before).err
    as_legacy({"0.weight": torch.zeros(4, 2), "x": [[] for _ in range(60)]}, before)
    monkeypatch.setattr(checkpoint, "_MOST_NODES", 100)
    assert "its content is too large" in begun_with(dlrun, tiny, before).err


def test_a_checkpoint_is_never_such_an_old_file(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    assert dlrun("train", tiny).code == 0
    run = only_run(runs_dir)
    as_legacy(torch.load(run.last, weights_only=True), run.last)
    done = dlrun("eval", run.last)
    assert "checkpoint is damaged" in done.err and done.code != 0


def test_safetensors_are_read_where_the_package_is_there_and_else_named(
    dlrun: Dlrun, tiny: Path, tmp_path: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved_model(tmp_path / "w.pt").rename(tmp_path / "w.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    done = begun_with(dlrun, tiny, path)
    assert (done.code, runs_dir.exists()) == (2, False)
    assert f"{path} can only be read with the package safetensors; pip install safetensors" in done.err
    package, module = ModuleType("safetensors"), ModuleType("safetensors.torch")
    module.load = lambda raw: torch.load(io.BytesIO(raw))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "safetensors", package)
    monkeypatch.setitem(sys.modules, "safetensors.torch", module)
    assert begun_with(dlrun, tiny, path).code == 0
    assert len(only_run(runs_dir).summary()["weights"]["taken"]) == 4
    path.write_bytes(b"")
    assert "its weights cannot be read: it is damaged (" in begun_with(dlrun, tiny, path).err


@pytest.fixture
def config(write: Write, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config that is not in the folder where we are, and names weights that are nowhere yet."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    text = tiny.read_text().replace("hidden: [4]}", "hidden: [4], weights: w.pt}")
    return write("project/own.yaml", text)


@pytest.mark.parametrize("place", ["here", "project"])
def test_a_file_is_found_where_we_are_and_beside_the_config_and_its_whole_path_is_recorded(
    place: str, dlrun: Dlrun, config: Path, tmp_path: Path, runs_dir: Path
) -> None:
    path = saved_model(tmp_path / place / "w.pt")
    assert dlrun("train", config).code == 0
    assert load_config(only_run(runs_dir).config).architecture.options["weights"] == str(path)


def test_where_nothing_is_found_or_two_files_are_the_message_has_line_and_column(
    dlrun: Dlrun, config: Path, tmp_path: Path, runs_dir: Path
) -> None:
    here, beside = tmp_path / "here" / "w.pt", tmp_path / "project" / "w.pt"
    for command in ("train", "show"):
        done = dlrun(command, config)
        assert (done.code, runs_dir.exists()) == (2, False)
        said = f"own.yaml:3:49 architecture.weights: there is no file {here} or {beside}"
        assert said in done.err, done.err
    for path in (here, beside):
        saved_model(path)
    done = dlrun("train", config)
    assert (done.code, runs_dir.exists()) == (2, False)
    assert f"own.yaml:3:49 architecture.weights: w.pt could be {here} or {beside}; " in done.err
    done = dlrun("train", config, "architecture.weights=w.pt")
    assert done.code == 0, "on the command line it is relative to where we are"
    config.write_text(config.read_text().replace("w.pt", "3"))
    done = dlrun("train", config)
    said = "own.yaml:3:49 architecture.weights: 3 is not a run, a file or a name of weights, or null"
    assert (done.code, said in done.err) == (2, True), done.err


@pytest.mark.parametrize("named", ["last", "tiny-001", "tiny-0", "FOLDER", "FOLDER/checkpoints/best.pt"])
def test_a_run_is_named_as_for_other_commands(named: str, dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    assert dlrun("train", tiny).code == 0
    first = only_run(runs_dir)
    named = named.replace("FOLDER", str(first.folder))
    assert begun_with(dlrun, tiny, named).code == 0
    second = runs_in(runs_dir)[0]
    assert second.name == "tiny-002"
    assert second.summary()["weights"]["source"].startswith(str(first.folder)), "not last, which changes"
    [weights], [best] = (load_checkpoint(path).state["model"] for path in (second.last, first.best))
    assert all(torch.equal(weights[name], best[name]) for name in best)


def test_a_run_without_a_best_epoch_and_a_sweep_of_many_are_named(
    dlrun: Dlrun, tiny: Path, runs_dir: Path
) -> None:
    assert "there is no run last" in begun_with(dlrun, tiny, "last").err
    assert dlrun("train", tiny).code == 0
    only_run(runs_dir).best.unlink()
    done = begun_with(dlrun, tiny, "last")
    assert (done.code, "has no best.pt yet; name its last.pt instead" in done.err) == (2, True)
    assert dlrun("sweep", tiny, "--seeds", 2, "--jobs", 1).code == 0
    assert "is a sweep of many runs" in begun_with(dlrun, tiny, "tiny-sweep-001").err
    assert begun_with(dlrun, tiny, "tiny-sweep-001/tiny-002").code == 0
