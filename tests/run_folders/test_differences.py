"""Tests of the differences between two runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_runs import made, with_rows

from dlrun.errors import UserError
from dlrun.run_folders.differences import Differences, differences_between
from dlrun.run_folders.records import read_record
from dlrun.run_folders.run import Run

Dlrun = Callable[..., Any]


def between(first: Run, second: Run) -> Differences:
    return differences_between(read_record(first), read_record(second))


def test_two_runs_of_one_config_are_the_same_to_the_last_bit(dlrun: Dlrun, tiny: Path) -> None:
    dlrun("train", tiny)
    dlrun("train", tiny)
    done = dlrun("diff", "tiny-001", "tiny-002")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "settings, data, machine and versions are the same",
        "curves: the same to the last bit in 3 epochs, 1 seed and 4 columns that both have",
    ]


def test_what_differs_is_shown_with_both_values_and_where_the_curves_part(dlrun: Dlrun, tiny: Path) -> None:
    dlrun("train", tiny, "--seeds", 2)
    dlrun("train", tiny, "--seeds", 3, "optimizer={name: sgd, lr: 0.01, momentum: 0.9}")
    done = dlrun("diff", "tiny-001", "tiny-002")
    head, *lines, curves = done.out.splitlines()
    assert head.split() == ["tiny-001", "tiny-002"]
    assert [line.split() for line in lines if "beta" not in line and "eps" not in line] == [
        ["seeds", "[0,", "1]", "[0,", "1,", "2]"],
        ["optimizer", "adam", "sgd"],
        ["optimizer.momentum", "–", "0.9"],
        ["optimizer.nesterov", "–", "false"],
    ]
    assert curves.startswith("curves: part at epoch 1: train_loss of seed 0 is 1.")
    assert curves.endswith("(3 epochs, 2 seeds and 4 columns that both have)")


def test_the_first_epoch_seed_and_column_that_differ_are_found(tmp_path: Path) -> None:
    header = "epoch,seed,train_loss,test_loss,lr,seconds"
    first = with_rows(
        made(tmp_path), ["1,0,1.0,,1,1", "1,7,2.0,5,1,1", "2,0,3.0,,1,1", "2,7,nan,,1,1"], header
    )
    second = with_rows(
        made(tmp_path),
        ["1,7,2.0,,9,9", "1,0,1.0,4,9,9", "2,7,nan,,9,9", "2,0,3.0000000000000004,,9,9"],
        header,
    )
    found = between(first, second).parting
    assert (found.epoch, found.seed, found.column) == (2, 0, "train_loss")
    assert found.values == (3.0, 3.0000000000000004)
    assert (found.epochs, found.seeds, found.columns) == (2, 2, 2)
    assert between(first, first).parting.epoch is None


def test_machine_versions_and_data_are_compared(tmp_path: Path) -> None:
    first = made(tmp_path, versions={"torch": "2.0"}, device="cpu", git={"commit": "a"}, machine="odd")
    second = made(tmp_path, versions={"torch": "2.1"}, device="cuda", data={"fingerprint": "other"})
    assert between(first, second).surroundings == {
        "data": ("abc", "other"),
        "device used": ("cpu", "cuda"),
        "torch": ("2.0", "2.1"),
        "commit": ("a", None),
    }


def test_what_cannot_be_read_is_said_and_not_called_a_difference(dlrun: Dlrun, tmp_path: Path) -> None:
    made(tmp_path)
    broken = made(tmp_path)
    broken.config.write_text("a: [")
    (broken.folder / "summary.json").write_text("{")
    done = dlrun("diff", "small-001", "small-002", "--runs-dir", tmp_path)
    assert done.code == 0
    assert done.out == "curves: there is no epoch of a seed that both have trained\n"
    assert "the config of small-002 cannot be read" in done.err
    assert "small-002 has no summary.json that can be read" in done.err
    found = json.loads(dlrun("diff", "small-001", "small-002", "--json", "--runs-dir", tmp_path).out)
    assert (found["settings"], found["surroundings"], len(found["unknown"])) == ({}, {}, 2)


def test_rows_that_dlrun_did_not_write_are_refused(tmp_path: Path) -> None:
    run = with_rows(made(tmp_path), ["one,0,1.0,1,1"])
    with pytest.raises(UserError, match=r"metrics\.csv is damaged"):
        between(run, run)


def test_json_holds_what_is_not_finite_as_null(dlrun: Dlrun, tmp_path: Path) -> None:
    for value in ("nan", "1.0"):
        with_rows(made(tmp_path, {"gradient_clip": 1.0 if value == "nan" else None}), [f"1,0,{value},1,1"])
    found = json.loads(dlrun("diff", "small-001", "small-002", "--json", "--runs-dir", tmp_path).out)
    assert found["runs"] == [str(tmp_path / "small-001"), str(tmp_path / "small-002")]
    assert found["settings"] == {"gradient_clip": [1.0, None]}
    assert (found["parting"]["epoch"], found["parting"]["values"]) == (1, [None, 1.0])


def test_a_config_that_cannot_be_read_is_told_without_empty_brackets(dlrun: Dlrun, tmp_path: Path) -> None:
    run = with_rows(made(tmp_path / "runs", {}), ["1,0,0.5,0.1,0.1"])
    run.config.write_bytes(b"# comment\n" * 200_000)
    done = dlrun("diff", run.name, run.name)
    assert f"cannot be read: {run.config} is too large for a config (2,000,000 bytes)\n" in done.err
    assert "()" not in done.err
    run.config.write_bytes(b"name: \xff\n")
    said = dlrun("diff", run.name, run.name).err
    assert "the file is not UTF-8 text" in said and f"({run.config}:1:7)" in said
