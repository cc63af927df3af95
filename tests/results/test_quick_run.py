"""A quick run goes through all of a run with two batches, and keeps nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import own_parts, planned

from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.errors import UserError
from dlrun.results.quick_run import quick_run
from dlrun.run_folders.run import Run
from dlrun.training.views import HiddenTraining

LATE = '''
"""A metric that fails where a split is evaluated."""
whole = True


def late(outputs, targets):
    """It is known only afterwards."""
    if len(outputs) > 40:
        raise ValueError("too late")
    return 1.0
'''

TWO_OF_THREE = '''
"""Points of two of three classes."""
import torch
from dlrun.data.examples import Data, Examples


def two_of_three(root):
    """Points."""
    points = Examples(torch.rand(40, 2), torch.arange(40) % 2)
    return Data(
        task="classification",
        input_shape=(2,),
        classes=("a", "b", "c"),
        read=lambda: {"train": points, "test": points},
        synthetic=True,
    )
'''


def quick(folder: Path, parts: Parts | None = None, **changes: Any) -> Any:
    config = planned(parts, **changes).config
    return quick_run(config, parts or Parts(), Path("no-data"), folder, HiddenTraining())


def test_it_trains_two_batches_and_goes_through_all_the_rest(tmp_path: Path) -> None:
    done = quick(tmp_path, epochs=500, plots=["curves", "confusion_matrix"], seeds=[0, 1], average="ema")
    assert (done.steps, done.evaluated, done.pictures) == (2, "test", 2)
    assert quick(tmp_path, batch_size="full").steps == 1
    large = {"dataset": {"name": "spiral", "points": 300}, "batch_size": "full", "micro_batch": 600}
    quick(tmp_path / "in pieces", **large)
    [in_pieces] = (tmp_path / "in pieces").iterdir()
    assert not any("micro_batch" in text for text in Run(in_pieces).summary()["warnings"])
    assert quick(tmp_path, batch_size=5, epoch_examples=5).steps == 1


def test_it_finds_what_would_fail_after_an_epoch(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"metrics/late.py": LATE})
    with pytest.raises((ValueError, UserError), match="too late"):
        quick(tmp_path, parts, metrics=["late"], dataset={"name": "spiral", "points": 200})


def test_a_class_that_the_few_examples_lack_is_no_mistake(tmp_path: Path) -> None:
    balanced = {"loss": {"name": "cross_entropy", "class_weight": "balanced"}}
    assert quick(tmp_path, dataset={"name": "spiral", "points": [4000, 4000, 1]}, **balanced).steps == 2
    run = Run(next(tmp_path.iterdir()))
    assert run.summary()["data"]["examples"]["train"] == 500
    assert run.summary()["class_weights"]["arm 3"] == pytest.approx(8001 / 3), "by all examples"


def test_a_class_that_all_examples_lack_is_a_mistake(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"dataset/two_of_three.py": TWO_OF_THREE})
    balanced = {"loss": {"name": "cross_entropy", "class_weight": "balanced"}}
    with pytest.raises(ConfigError, match="no training example is of class c"):
        quick(tmp_path, parts, dataset="two_of_three", **balanced)


@pytest.mark.parametrize("change", ["optimizer={name: sgd, lr: 1e30}", "metrics=[late]"])
def test_a_failure_names_no_folder_that_is_gone(
    dlrun: Callable[..., Any], tiny: Path, tmp_path: Path, change: str
) -> None:
    own = ("--parts", own_parts(tmp_path, {"metrics/late.py": LATE}).folder)
    done = dlrun("train", tiny, "--quick", "dataset.points=200", *own, change)
    assert done.code != 0
    assert "dlrun-quick-" not in done.err[done.err.index("error: ") :]
    assert "resume" not in done.err


def test_it_keeps_nothing_and_judges_nothing(
    dlrun: Callable[..., Any], tiny: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = sorted(tmp_path.iterdir())
    done = dlrun("train", tiny, "--quick", "expect={train_loss: '< 0'}", "plots=[curves]")
    assert done.code == 0
    assert "quick: 2 steps, test evaluated, a checkpoint, 1 picture" in done.out
    assert not runs_dir.exists() or not list(runs_dir.iterdir())
    assert sorted(tmp_path.iterdir()) == before
    assert (done := dlrun("train", tiny, "--quick", "--quiet")).code == 0
    assert done.out == ""


def test_it_is_no_run_that_is_paused_and_none_of_many(dlrun: Callable[..., Any], tiny: Path) -> None:
    done = dlrun("train", tiny, "--quick", "--folds", 3)
    assert (done.code, "--quick dataset.folds=3 dataset.fold=0" in done.err) == (2, True)
    assert "--quick is a run of its own" in dlrun("train", tiny, "--quick", "--stop-after", 1).err
