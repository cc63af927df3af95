"""A run as trackers are told of it, from the files of its folder."""

from __future__ import annotations

import math
import shutil
from datetime import datetime
from pathlib import Path

import pytest
from made_runs import made, with_rows
from small_runs import go_on, planned, trained

from dlrun.errors import UserError
from dlrun.run_folders.run import Run
from dlrun.tracking.run_content import content_of, tag_of
from dlrun.tracking.trackers import log_run

STARTED = "2026-01-02T03:04:05+00:00"
HEADER = "epoch,seed,train_loss,valid_accuracy,lr,seconds"


def test_columns_are_grouped_by_their_split() -> None:
    names = ("train_loss", "valid_top_k", "trainset_loss", "test_loss_average", "lr", "seconds")
    assert [tag_of(name) for name in names] == [
        "train/loss",
        "valid/top_k",
        "trainset/loss",
        "test/loss_average",
        "lr",
        "seconds",
    ]


def test_each_seed_has_its_curves_and_the_run_their_means(tmp_path: Path) -> None:
    rows = ["1,3,0.5,,0.1,2", "1,8,0.7,0.5,0.1,2", "2,8,0.1,nan,0.1,4"]  # seed 3 has stopped
    content = content_of(with_rows(made(tmp_path, {"seeds": [3, 8]}, started=STARTED), rows, HEADER))
    assert list(content.curves) == ["", "seed_3", "seed_8"]
    assert content.curves["seed_3"].rows == {1: {"train/loss": 0.5, "lr": 0.1, "seconds": 2.0}}
    means = content.curves[""].rows
    assert means[1] == {"train/loss": 0.6, "valid/accuracy": 0.5, "lr": 0.1, "seconds": 2.0}
    assert "valid/accuracy" not in means[2] and means[2]["train/loss"] == 0.1
    assert math.isnan(content.curves["seed_8"].rows[2]["valid/accuracy"])
    began = datetime.fromisoformat(STARTED).timestamp()
    assert content.times == {1: began + 2, 2: began + 6}


def test_a_run_of_one_seed_has_its_curves_alone(tmp_path: Path) -> None:
    content = content_of(with_rows(made(tmp_path, {"seeds": [3]}), ["1,3,0.5,,0.1,2"], HEADER))
    assert {name: curves.seed for name, curves in content.curves.items()} == {"": 3}


def test_an_epoch_waits_until_the_rows_of_all_its_seeds_are_written(tmp_path: Path) -> None:
    begun = made(tmp_path, {"seeds": [3, 8]}, status="running", host="of another machine")
    rows = ["1,3,0.5,,0.1,2", "1,8,0.7,0.5,0.1,2", "2,3,0.1,0.2,0.1,4", "2,8,0.1,0.2,0.1,4"]
    for written, epochs in ((1, 0), (2, 1), (3, 1), (4, 2)):
        assert content_of(with_rows(begun, rows[:written], HEADER)).epochs == epochs
    stopped = [*rows, "3,8,0.1,0.2,0.1,4", "4,8,0.1,0.2,0.1,4"]
    assert content_of(with_rows(begun, stopped, HEADER)).epochs == 4
    ended = made(tmp_path, {"seeds": [3, 8]})
    assert content_of(with_rows(ended, stopped[:5], HEADER)).epochs == 3


def test_best_figures_and_baselines_are_beside_the_epochs(tmp_path: Path) -> None:
    run = trained(planned(seeds=[0, 1], epochs=4), tmp_path)
    content, summary = content_of(run), run.summary()
    best, baseline = summary["best"], summary["baselines"]["train"]["class prior"]
    assert content.curves[""].results == {
        "best/epoch": best["epoch"],
        **{f"best/{tag_of(name)}": of["mean"] for name, of in best["figures"].items() if "_" in name},
        "baseline/class prior/train/loss": baseline["loss"],
        "baseline/class prior/train/accuracy": baseline["accuracy"],
        "baseline/class prior/test/loss": summary["baselines"]["test"]["class prior"]["loss"],
        "baseline/class prior/test/accuracy": summary["baselines"]["test"]["class prior"]["accuracy"],
    }
    of_one = content.curves["seed_1"].results
    assert of_one["best/epoch"] == best["epochs"]["1"]
    assert of_one["best/train/loss"] == best["figures"]["train_loss"]["values"][1]
    assert not any(name.startswith("baseline") for name in of_one)
    head, _, *lines = content.results.splitlines()
    assert head == "| figure | last epoch | best epoch | class prior |"
    assert [line.split(" | ")[0] for line in lines] == [
        "| train_loss",
        "| train_accuracy",
        "| test_loss",
        "| test_accuracy",
    ]
    assert lines[0].split(" | ")[-1] == f"{baseline['loss']:.4g} |"


def test_the_id_is_that_of_the_run_wherever_its_folder_is_and_however_often_it_goes_on(
    tmp_path: Path,
) -> None:
    first, second = (trained(planned(), tmp_path) for _ in range(2))
    own = content_of(first).id
    assert own != content_of(second).id
    go_on(first, {"epochs": 5})
    assert content_of(first).id == own
    moved = Run(Path(shutil.move(first.folder, tmp_path / "elsewhere")))
    assert content_of(moved).id == own
    again = Run(Path(shutil.copytree(moved.folder, tmp_path / "branch-001")))
    go_on(again, {"epochs": 6})
    assert content_of(again).id != own, "a copy that goes on by itself is another run"


def test_claims_warnings_and_surroundings_are_told(tmp_path: Path) -> None:
    claim = {"column": "train_accuracy", "claim": ">= 0.9", "measured": 0.5, "met": False}
    about = content_of(made(tmp_path, expect=[claim], warnings=["one", "two"])).about
    assert about["claim.train_accuracy"] == ">= 0.9: not met"
    assert about["warnings"] == "one\ntwo"
    assert (about["status"], about["torch"], about["data"]) == ("finished", "2", "abc")


def test_a_run_without_rows_or_summary_is_refused(tmp_path: Path) -> None:
    run = made(tmp_path)
    with pytest.raises(UserError, match="small-001 has no epoch yet: there is nothing to log"):
        log_run(run, "tensorboard")
    (run.folder / "summary.json").write_text("{}")
    with pytest.raises(UserError, match=r"there is no summary\.json that can be read"):
        log_run(run, "tensorboard")


def test_what_a_stranger_wrote_into_a_summary_is_left_out(tmp_path: Path) -> None:
    run = made(tmp_path, best="<script>", baselines=[1], expect=3, warnings={"a": 1})
    content = content_of(with_rows(run, ["1,0,0.5,0.1,2"]))
    assert content.curves[""].rows[1]["train/loss"] == 0.5
    assert content.curves[""].results == {}
