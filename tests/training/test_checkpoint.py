"""One file, one guarded door: what is saved comes back, and nothing else comes in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import differences, planned, trained, written

import dlrun
from dlrun.errors import CheckpointRefused, RunFailed
from dlrun.training.checkpoint import FORMAT, Checkpoint, load_checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last checkpoint of a small real run."""
    return trained(planned(), tmp_path_factory.mktemp("good")).last


def content(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        name: getattr(checkpoint, name)
        for name in ("config", "data", "state", "figures", "environment", "dlrun")
    }


# ------------------------------------------------------------------------ there and back


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    saved = Checkpoint(
        config={"seeds": [0, 2**62], "name": "x [/foo] π", "nothing": None, "yes": True},
        data={"scale": torch.tensor(255.0), "offset": None, "classes": ["a", "b"]},
        state={
            "model": [{"w": torch.randn(3, 4), "i": torch.arange(5)}],
            "epoch": 3,
            "optimizer": {0: {"step": 1.5}},
        },
        figures={"loss": [0.1, float("nan"), float("inf")]},
        environment={"torch": "2"},
        dlrun="9.9",
    )
    path = tmp_path / "a.pt"
    save_checkpoint(path, saved)
    loaded = load_checkpoint(path)
    assert not differences(content(saved), content(loaded))
    assert len(loaded.digest) == 64
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"], "no temporary file is left"


def test_a_checkpoint_of_a_run_says_all_that_is_needed_to_use_it(good: Path) -> None:
    saved = load_checkpoint(good)
    assert saved.config["architecture"]["name"] == "mlp"
    assert saved.data["classes"] == ["arm 1", "arm 2", "arm 3"]
    assert set(saved.data) >= {"task", "input_shape", "preprocessing", "fingerprint", "unit"}
    assert set(saved.state) >= {"model", "optimizer", "epoch", "best", "rows_end"}
    assert saved.environment["torch"] == torch.__version__
    assert saved.dlrun == dlrun.__version__


def test_saving_over_a_checkpoint_replaces_it_or_leaves_it(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(good.read_bytes())
    broken = Checkpoint({}, {}, {"model": lambda: None}, {}, {}, "0")
    with pytest.raises(RunFailed, match=r"state\.model is a function"):
        save_checkpoint(path, broken)
    assert path.read_bytes() == good.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


# ------------------------------------------------------------------------ what is no checkpoint


@pytest.mark.parametrize("entry", ["config", "data", "state", "figures", "environment", "dlrun"])
def test_an_entry_that_is_not_what_it_must_be_is_named(tmp_path: Path, entry: str) -> None:
    with pytest.raises(CheckpointRefused, match=entry):
        load_checkpoint(written(tmp_path / "a.pt", **{entry: [1]}))


def test_entries_too_many_or_too_few_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointRefused, match="not a dlrun checkpoint"):
        load_checkpoint(written(tmp_path / "a.pt", more=1))
    torch.save({"format": FORMAT}, tmp_path / "b.pt")
    with pytest.raises(CheckpointRefused, match="not a dlrun checkpoint"):
        load_checkpoint(tmp_path / "b.pt")


def test_a_file_larger_than_the_memory_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "huge.pt"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(CheckpointRefused, match=r"1,024.0 GiB, and this process may use"):
        load_checkpoint(path)
