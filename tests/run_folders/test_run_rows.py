"""Runs for other programs: JSON has everything of each, CSV a row with the same columns."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from made_runs import Values, made, made_sweep

Dlrun = Callable[..., Any]


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A folder with a run of three seeds, one of which has no figure, and one of a single seed."""
    final: dict[str, Values] = {"train_accuracy": [0.5, 0.7, None]}
    made(tmp_path, {"seeds": [4, 5, 6]}, final=final, seconds=1.5, started="2026-01-01T00:00:00+00:00")
    best = {"epoch": 2, "monitor": "train_loss", "figures": {"train_loss": {"values": [0.25]}}}
    alone = {"seeds": [7], "optimizer": {"name": "sgd", "lr": 0.5}}
    made(tmp_path, alone, best=best, started="2026-01-02T00:00:00+00:00")
    return tmp_path


def test_json_has_each_run_whole(dlrun: Dlrun, two: Path) -> None:
    found = json.loads(dlrun("runs", "--json", "--runs-dir", two).out)
    newest, oldest = found["runs"]
    assert (newest["run"], oldest["run"]) == ("small-002", "small-001")
    assert oldest["folder"] == str(two / "small-001")
    assert (oldest["seconds"], oldest["epochs"], oldest["seeds"]) == (1.5, 3, [4, 5, 6])
    figure = oldest["figures"]["train_accuracy"]
    assert figure == {"mean": 0.6, "sd": pytest.approx(0.02**0.5), "values": {"4": 0.5, "5": 0.7}}
    assert newest["figures"]["best.train_loss"] == {"mean": 0.25, "sd": None, "values": {"7": 0.25}}
    assert (newest["monitor"], newest["best_epoch"]) == ("train_loss", 2)
    assert newest["config"]["optimizer.lr"] == 0.5
    assert (found["sweeps"], found["never_started"]) == ([], [])


def test_csv_has_the_same_columns_for_every_run(dlrun: Dlrun, two: Path) -> None:
    single, several = csv.DictReader(StringIO(dlrun("runs", "--csv", "--runs-dir", two).out))
    assert single.keys() == several.keys()
    assert (several["train_accuracy"], several["train_accuracy.sd"][:6]) == ("0.6", "0.1414")
    assert (single["train_accuracy"], single["train_accuracy.sd"]) == ("0.5", "")
    assert (single["optimizer.lr"], single["optimizer.beta1"], several["optimizer.beta1"]) == (
        "0.5",
        "",
        "0.9",
    )
    assert (several["seeds"], several["compile"], several["architecture.hidden"]) == (
        "[4, 5, 6]",
        "false",
        "[8]",
    )


def test_conditions_order_and_columns_hold_for_both(dlrun: Dlrun, two: Path) -> None:
    words = ("--runs-dir", two, "--sort", "optimizer.lr", "--columns", "optimizer.lr,train_accuracy")
    assert dlrun("runs", "--csv", *words).out.splitlines() == [
        "run,optimizer.lr,train_accuracy,train_accuracy.sd",
        "small-001,0.01,0.6,0.14142135623730948",
        "small-002,0.5,0.5,",
    ]
    rows = json.loads(dlrun("runs", "--json", *words, "--where", "optimizer.name == sgd").out)["runs"]
    assert rows == [{"run": "small-002", "optimizer.lr": 0.5, "train_accuracy": 0.5}]


def test_sweeps_are_counted_and_their_runs_found_by_a_condition(dlrun: Dlrun, tmp_path: Path) -> None:
    made_sweep(tmp_path, [{"epochs": 2}, {"epochs": 3}], [[0.5], [0.75]])
    (tmp_path / "killed-sweep-001").mkdir()
    found = json.loads(dlrun("runs", "--json", "--runs-dir", tmp_path).out)
    [sweep] = found["sweeps"]
    assert (found["runs"], sweep["runs"], sweep["done"]) == ([], 2, 2)
    assert found["never_started"] == [str(tmp_path / "killed-sweep-001")]
    met = json.loads(dlrun("runs", "--json", "--where", "epochs > 2", "--runs-dir", tmp_path).out)
    assert [each["run"] for each in met["runs"]] == ["small-sweep-001/small-002"]
    assert met["sweeps"] == []


def test_formulas_of_a_stranger_are_text(dlrun: Dlrun, tmp_path: Path) -> None:
    run = made(tmp_path)
    run.config.write_text(run.config.read_text().replace("monitor: null", 'monitor: "=1+1"'))
    [row] = csv.DictReader(StringIO(dlrun("runs", "--csv", "--runs-dir", tmp_path).out))
    assert row["monitor"] == "'=1+1"


def test_no_runs_are_an_empty_list_and_a_line_of_headings(dlrun: Dlrun, tmp_path: Path) -> None:
    assert json.loads(dlrun("runs", "--json", "--runs-dir", tmp_path / "none").out)["runs"] == []
    assert dlrun("runs", "--csv", "--runs-dir", tmp_path / "none").out.startswith("run,folder,status")


@pytest.mark.parametrize("both", [("--json", "--csv"), ("--json", "--prune"), ("--csv", "--prune")])
def test_only_one_form_can_be_asked_for(dlrun: Dlrun, both: tuple[str, str]) -> None:
    refused = dlrun("runs", *both)
    assert refused.code == 2 and "only one of --json, --csv and --prune" in refused.err
