"""Tests of finding, reading and sorting runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_runs import SGD, accuracies, made, made_sweep, two_settings

from dlrun.errors import UserError
from dlrun.run_folders.finding import find_runs
from dlrun.run_folders.records import Record, chosen_records, ordered, runs_of
from dlrun.run_folders.run import Run

Dlrun = Callable[..., Any]


@pytest.fixture
def two(tmp_path: Path) -> list[Run]:
    return two_settings(tmp_path)


def found_in(text: str, parent: Path) -> list[Run]:
    return runs_of(find_runs(text, parent))


def test_runs_are_named_by_folder_prefix_pattern_sweep_and_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs_dir = tmp_path / "runs"
    first, second = made(runs_dir), made(runs_dir, {"name": "other"})
    assert find_runs("last", runs_dir) == [second]
    sweep = made_sweep(runs_dir, [{"epochs": 1}, {"epochs": 2}], [[0.1], [0.2]])
    sweep.content["started"] = "9999-01-01T00:00:00+00:00"
    sweep.write()
    inside = [trial.run for trial in sweep.trials]

    def found(text: object) -> list[str]:
        return [str(run.folder.relative_to(tmp_path)) for run in found_in(str(text), runs_dir)]

    names = ["runs/small-001", "runs/other-001"]
    of_sweep = [f"runs/{sweep.name}/{run.name}" for run in inside]
    assert found("small-001") == found(first.folder) == found("small") == found("sm*1") == names[:1]
    assert found(second.folder) == names[1:]
    assert found("*") == found(runs_dir) == found(f"{runs_dir}/*") == names
    assert found(sweep.name) == found(sweep.folder) == found("small-sweep") == found("*sweep*") == of_sweep
    assert found("last") == of_sweep
    monkeypatch.chdir(tmp_path)
    assert [run.name for run in found_in("runs/ot*", Path("nowhere"))] == ["other-001"]
    for nobody in ("", " ", "nothing", "nothing*", "x" * 5000, tmp_path / "absent"):
        with pytest.raises(UserError):
            found(nobody)


def test_a_run_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    run = made(tmp_path)
    assert len(chosen_records([run, Run(run.folder), *found_in("*", tmp_path)])) == 1


def test_a_condition_chooses_by_settings_figures_and_status(two: list[Run], tmp_path: Path) -> None:
    accuracies(tmp_path, {"optimizer": SGD}, 0.1)
    every = found_in("*", tmp_path)

    def names(where: str) -> list[str]:
        return [said.run.name[-1] for said in chosen_records(every, where)]

    assert names("optimizer == adam and train_accuracy > 0.925") == ["2"]
    assert names("optimizer.name == sgd or optimizer.lr == 0.1") == ["1", "3"]
    assert names("status == finished and run != small-001") == ["2", "3"]
    assert names("optimizer.momentum == 0") == ["3"]
    assert names("seeds == [0]") == ["3"]
    with pytest.raises(UserError, match=r"'optimizer.nmae'; did you mean 'optimizer.name'"):
        names("train_accuracy > 0 and optimizer.nmae == adam")


def test_runs_are_ordered_by_numbers_then_texts_then_those_that_say_nothing(tmp_path: Path) -> None:
    for batch_size in (64, "full", 8):
        made(tmp_path, {"batch_size": batch_size})
    made(tmp_path).config.write_text("name: x")
    said = chosen_records(found_in("*", tmp_path))

    def order(key: str) -> list[Any]:
        return [each.config.get("batch_size") for each in ordered(said, key)]

    assert order("batch_size") == [8, 64, "full", None]
    assert order("-batch_size") == [64, 8, "full", None]
    with pytest.raises(UserError, match="'batchsize'; did you mean 'batch_size'"):
        order("-batchsize")


def test_a_run_says_what_was_measured_with_its_spread(dlrun: Dlrun, two: list[Run], tmp_path: Path) -> None:
    [said, _] = chosen_records(two)
    assert isinstance(said, Record)
    assert said.at("train_accuracy") == pytest.approx(0.92)
    done = dlrun("runs", "--columns", "train_accuracy,optimizer.lr", "--runs-dir", tmp_path)
    assert done.out.splitlines()[2].split() == ["small-001", "0.9200", "±", "0.0158", "0.1"]


def test_runs_of_the_same_data_are_one_setting_wherever_it_lies(tmp_path: Path) -> None:
    summary = {"data": {"fingerprint": "f"}}
    here, there = (
        Record(Run(tmp_path), {"dataset.name": "csv", "dataset.path": path}, summary).setting("test_mae")
        for path in ("t.csv", "/home/t.csv")
    )
    assert here == there
    assert here != Record(Run(tmp_path), {"dataset.name": "csv"}, {}).setting("test_mae")


@pytest.mark.parametrize("seeds", [True, 7, "01", {"a": 1}, None])
def test_figures_of_unknown_seeds_are_none(tmp_path: Path, seeds: object) -> None:
    run = made(tmp_path)
    run.write_json("summary.json", run.summary() | {"seeds": seeds})
    assert chosen_records([run])[0].of_seeds("train_accuracy") == {}
