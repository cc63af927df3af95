"""keep and keep_every: the checkpoints of single epochs, by the monitored column and by number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_runs import Listening, differences, go_on, planned, trained

from dlrun.config.registry import Parts
from dlrun.run_folders.run import Run
from dlrun.training.checkpoint import load_checkpoint
from dlrun.training.evaluation import evaluate_run
from dlrun.training.kept_epochs import Keeping
from dlrun.training.opening import open_checkpoint

NOWHERE = Path("no-data")
EIGHT: dict[str, Any] = {"epochs": 8, "monitor": "test_loss", "optimizer": {"name": "sgd", "lr": 3.0}}


def kept(run: Run) -> list[int]:
    return sorted(int(path.stem.removeprefix("epoch_")) for path in run.last.parent.glob("epoch_*.pt"))


def best_epochs(run: Run, column: str, count: int, *, highest: bool = False) -> list[int]:
    rows = run.rows()
    means: dict[int, list[float]] = {}
    for epoch, value in zip(rows["epoch"], rows[column], strict=True):
        means.setdefault(epoch, []).append(value)
    ranked = sorted(means, key=lambda epoch: (-1 if highest else 1) * sum(means[epoch]))
    return sorted(ranked[:count])


@pytest.mark.parametrize("column", ["test_loss", "test_accuracy"])
def test_the_best_epochs_are_kept(tmp_path: Path, column: str) -> None:
    run = trained(planned(**EIGHT | {"keep": 3, "monitor": column, "seeds": [0, 1]}), tmp_path)
    assert kept(run) == best_epochs(run, column, 3, highest=column == "test_accuracy")
    assert kept(run) != [6, 7, 8], "not only the last ones"


def test_every_so_many_epochs_are_kept_beside_them(tmp_path: Path) -> None:
    assert kept(trained(planned(**EIGHT, keep_every=3), tmp_path)) == [3, 6]
    run = trained(planned(**EIGHT, keep_every=3, keep=2), tmp_path)
    assert kept(run) == sorted({3, 6, *best_epochs(run, "test_loss", 2)})
    assert kept(trained(planned(**EIGHT), tmp_path)) == []


def test_it_is_told_if_too_few_epochs_are_planned_for_one_to_be_kept(tmp_path: Path) -> None:
    for every, lines in ((9, ["keep_every: 9 keeps no checkpoint: epochs is 8"]), (8, [])):
        view = Listening()
        trained(planned(**EIGHT, keep_every=every), tmp_path, view=view)
        assert [text for text in view.warnings if "keep_every" in text] == lines


def test_a_kept_checkpoint_is_evaluated_as_recorded(tmp_path: Path) -> None:
    run = trained(planned(**EIGHT, keep_every=5, average="ema"), tmp_path)
    path = run.last.parent / "epoch_0005.pt"
    model, saved = open_checkpoint(path, run, [], Parts(), NOWHERE)
    report = evaluate_run(model, saved, path, "test")
    assert (report["epoch"], report["weights"]) == (5, "trained")
    assert report["recorded"]["loss"] == {"at_training": run.rows()["test_loss"][4], "difference": 0}


def test_a_run_that_was_stopped_keeps_what_the_unbroken_one_keeps(tmp_path: Path) -> None:
    changes = EIGHT | {"keep": 2, "keep_every": 4, "seeds": [0, 1]}
    unbroken = trained(planned(**changes), tmp_path)
    for stop in (2, 5):
        run = trained(planned(**changes), tmp_path, stop_after=stop)
        for epoch in range(1, 8):  # as a run leaves some that is killed before or after it saves
            if epoch not in kept(run):
                (run.last.parent / f"epoch_{epoch:04d}.pt").write_bytes(b"left")
        go_on(run, changes)
        assert kept(run) == kept(unbroken)
        for epoch in kept(run):
            name = f"epoch_{epoch:04d}.pt"
            ours, theirs = (load_checkpoint(each.last.parent / name) for each in (run, unbroken))
            assert not differences(ours.state, theirs.state)


def test_what_a_run_without_kept_epochs_holds_under_such_a_name_stays(tmp_path: Path) -> None:
    run = trained(planned(**EIGHT), tmp_path, stop_after=2)
    (run.last.parent / "epoch_0001.pt").write_bytes(b"a copy of one's own")
    go_on(run, EIGHT)
    assert kept(run) == [1]


def test_epochs_without_the_monitored_column_are_not_among_the_best(tmp_path: Path) -> None:
    run = trained(planned(**EIGHT, keep=4, evaluate_every=3), tmp_path)
    assert kept(run) == [3, 6]


def test_of_equal_epochs_the_earlier_ones_are_kept() -> None:
    found: list[tuple[int, float]] = []
    for epoch, value in enumerate([2.0, 1.0, 2.0, 1.0, float("nan")], 1):
        found = Keeping(best=3).ranked(found, epoch, value, lambda one, other: one < other)
    assert found == [(2, 1.0), (4, 1.0), (1, 2.0)]
    assert Keeping().ranked([], 1, 1.0, lambda one, other: one < other) == []
