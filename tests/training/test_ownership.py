"""A checkpoint that was put into a run's folder is told from those that the run saved."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from small_runs import mostly_slow

from dlrun.config.lookup import shipped_folder
from dlrun.run_folders.run import Run
from dlrun.training import evaluation, run_writer


def evaluated(dlrun: Any, run: str, *words: object) -> str:
    """Return the warnings of eval, after checking that stderr and JSON agree and the exit code is 0."""
    done = dlrun("eval", run, "--json", *words)
    assert done.code == 0, done
    found = json.loads(done.out)["foreign"]
    warnings = [line for line in done.err.splitlines() if "is not of this run" in line]
    assert [line.partition("of this run: ")[2] for line in warnings] == ([found] if found else [])
    return str(found)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pictures of eval, which are most of its time and of no concern here."""
    monkeypatch.setattr(evaluation, "draw_plots", lambda *given: [])


@pytest.fixture
def two(dlrun: Any, tiny: Path, runs_dir: Path) -> tuple[Run, Run]:
    """A run, and another one with another seed of the data."""
    assert dlrun("train", tiny, "--seeds", 2).code == 0
    assert dlrun("train", tiny, "--seeds", 2, "epochs=2").code == 0
    return Run(runs_dir / "tiny-001"), Run(runs_dir / "tiny-002")


def test_a_best_of_another_config_is_named_with_the_key(dlrun: Any, tiny: Path, two: tuple[Run, Run]) -> None:
    dlrun("train", tiny, "--seeds", 2, "optimizer.lr=0.5")
    shutil.copy(two[0].folder.parent / "tiny-003" / "checkpoints" / "best.pt", two[0].best)
    assert evaluated(dlrun, "tiny-001").startswith("its optimizer.lr is 0.5, and by config.yaml ")


def test_a_best_of_other_figures_is_named_with_the_file_that_says_otherwise(
    dlrun: Any, two: tuple[Run, Run], tiny: Path
) -> None:
    """Data may change its place and its content with no key of the config: figures tell all the same."""
    first, second = two
    kept = first.folder.with_name("kept")
    shutil.copytree(first.folder, kept)
    rows = first.metrics.read_text().splitlines()
    epoch = json.loads((first.folder / "summary.json").read_text())["best"]["epoch"]
    changed = [
        line if not line.startswith(f"{epoch},1,") else ",".join([f"{epoch},1", "9.5", *line.split(",")[3:]])
        for line in rows
    ]
    first.metrics.write_text("\n".join([*changed, ""]))
    assert "and 9.5 in metrics.csv" in evaluated(dlrun, "tiny-001")
    shutil.copy(kept / "metrics.csv", first.metrics)
    assert evaluated(dlrun, "tiny-001") == ""
    first.write_json("summary.json", first.summary() | {"best": {"epoch": 1, "figures": {}}})
    assert "by summary.json the best is epoch 1" in evaluated(dlrun, "tiny-001")
    shutil.copy(kept / "summary.json", first.folder)
    shutil.copy(second.best, first.best)
    assert "by last.pt the best is epoch 3" in evaluated(dlrun, "tiny-001")
    shutil.copy(first.best, second.best)
    shutil.copy(kept / "checkpoints" / "best.pt", second.best)
    assert evaluated(dlrun, "tiny-002") == "it is of epoch 3, and the run has 2"
    shutil.copy(kept / "checkpoints" / "last.pt", second.last)
    assert "epoch 3, and by summary.json the best is epoch 2" in evaluated(dlrun, "tiny-002")


RUNS: dict[str, tuple[object, ...]] = {
    "several seeds": ("--seeds", 3),
    "stacked seeds": ("--seeds", 3, "stacked=true"),
    "early stopping": ("epochs=40", "patience=2", "optimizer.lr=0.5"),
    "evaluated now and then": ("evaluate_every=2", "epochs=5"),
    "rarely monitored": ("epochs=5", "evaluate_train_every=2", "monitor=trainset_loss"),
    "never monitored": ("evaluate_train_every=5", "monitor=trainset_loss"),
    "full batch": ("batch_size=full",),
    "paused": ("--stop-after", 2),
}


@pytest.mark.parametrize("kind", mostly_slow(RUNS, "early stopping", "rarely monitored", "paused"))
def test_what_a_run_saved_is_never_doubted(dlrun: Any, tiny: Path, kind: str) -> None:
    assert dlrun("train", tiny, *RUNS[kind]).code in (0, 5)
    for which in ("best", "last"):
        assert evaluated(dlrun, "last", "--checkpoint", which) == ""
        assert evaluated(dlrun, "last", "metrics=[]", "--split", "train", "--checkpoint", which) == ""
    assert dlrun("resume", "last", "epochs=60", "patience=null", "plots=[]", "name=other").code in (0, 5)
    for which in ("best", "last"):
        assert evaluated(dlrun, "last", "--checkpoint", which) == ""


@pytest.mark.slow
@pytest.mark.parametrize("config", sorted(path.stem for path in shipped_folder().glob("spiral*.yaml")))
def test_no_shipped_config_of_the_spiral_is_doubted(dlrun: Any, config: str) -> None:
    assert dlrun("train", config, "epochs=3", "plots=[]").code == 0
    assert evaluated(dlrun, "last") == ""
    assert dlrun("resume", "last", "epochs=4").code in (0, 5)
    assert evaluated(dlrun, "last") == ""


@pytest.mark.usefixtures("save_always")
@pytest.mark.parametrize("files", mostly_slow(range(1, 10), 1, 2, 3, 4))
def test_a_run_that_was_killed_at_any_save_is_not_doubted(
    dlrun: Any, tiny: Path, files: int, monkeypatch: pytest.MonkeyPatch, runs_dir: Path
) -> None:
    """Best.pt is saved before last.pt: for a moment nothing else tells of it."""

    class Killed(BaseException):
        pass

    left = files

    def save(*words: Any) -> None:
        nonlocal left
        if not left:
            raise Killed
        left -= 1
        saved(*words)

    saved = run_writer.save_checkpoint
    with monkeypatch.context() as patched:
        patched.setattr(run_writer, "save_checkpoint", save)
        with suppress(Killed, SystemExit, pytest.fail.Exception):
            dlrun("train", tiny, "epochs=8")
    run = Run(runs_dir / "tiny-001")
    if run.best.exists():
        assert evaluated(dlrun, "last") == ""
    left = files // 2
    with monkeypatch.context() as patched:
        patched.setattr(run_writer, "save_checkpoint", save)
        with suppress(Killed, SystemExit, pytest.fail.Exception):
            dlrun("resume", "last")
    if run.best.exists():
        assert evaluated(dlrun, "last") == ""
