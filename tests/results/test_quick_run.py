"""A quick run goes through all of a run with two batches, and keeps nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import own_parts, planned

from dlrun.config.registry import Parts
from dlrun.errors import UserError
from dlrun.results.quick_run import quick_run
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


def quick(folder: Path, parts: Parts | None = None, **changes: Any) -> Any:
    config = planned(parts, **changes).config
    return quick_run(config, parts or Parts(), Path("no-data"), folder, HiddenTraining())


def test_it_trains_two_batches_and_goes_through_all_the_rest(tmp_path: Path) -> None:
    done = quick(tmp_path, epochs=500, plots=["curves", "confusion_matrix"], seeds=[0, 1], average="ema")
    assert (done.steps, done.evaluated, done.pictures) == (2, "test", 2)
    assert quick(tmp_path, batch_size="full").steps == 1
    assert quick(tmp_path, batch_size=5, epoch_examples=5).steps == 1


def test_it_finds_what_would_fail_after_an_epoch(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"metrics/late.py": LATE})
    with pytest.raises((ValueError, UserError), match="too late"):
        quick(tmp_path, parts, metrics=["late"], dataset={"name": "spiral", "points": 200})


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
