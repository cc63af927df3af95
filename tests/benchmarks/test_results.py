"""docs/results.md has a row for every experiment, and says what was measured, missed or not run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results
from benchmarks.results import EXPERIMENTS, Experiment
from dlrun.config.lookup import shipped_names

FOUND: dict[str, Any] = {
    "figures": {"train_mae": {"mean": 2.5, "sd": 0.25}, "test_mae": {"mean": 3.5, "sd": 0.25}},
    "expect": [{"column": "test_mae", "claim": "< 3", "measured": 3.5, "met": False, "missed_by": 0.5}],
    "baselines": {"test": {"mean": {"mae": 9.0, "loss": 1.0}, "yesterday": {"mae": 3.25, "loss": 1.0}}},
    "seeds": 2,
    "seconds": 8.0,
    "device": "cpu",
    "threads": 1,
    "machine": {"processor": "a processor", "instructions": "AVX2"},
    "versions": {"torch": "2", "python": "3", "dlrun": "0"},
    "date": "2026-01-01",
}


def test_every_config_has_a_row() -> None:
    named = {experiment.config or experiment.name for experiment in EXPERIMENTS}
    assert named == set(shipped_names())
    assert len({experiment.name for experiment in EXPERIMENTS}) == len(EXPERIMENTS)


def test_the_table_is_what_was_measured() -> None:
    measured = json.loads(results.MEASURED.read_text())
    assert results.TABLE.read_text() == "\n".join(results.lines(measured)) + "\n", (
        "write it again: python -m benchmarks.results --table"
    )


def test_a_row_says_what_was_measured_and_by_how_much_a_claim_was_missed() -> None:
    [row] = [line for line in results.lines({"temps": FOUND}) if line.startswith("| `temps` ")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2:] == [
        "train_mae 2.5000 ± 0.2500<br>test_mae 3.5000 ± 0.2500 (2 seeds)",
        "mean 9<br>yesterday 3.25",
        "test_mae < 3",
        "no, by 0.5",
        "–",
        "4.0 s",
    ]


def test_a_model_that_does_not_beat_a_guess_is_said_so_plainly() -> None:
    text = "\n".join(results.lines({"temps": FOUND}))
    assert "3.50 °F does not beat the best guess without a model, yesterday (3.25 °F)" in text
    better = FOUND | {"figures": FOUND["figures"] | {"test_mae": {"mean": 3.1, "sd": None}}}
    assert "3.10 °F beats the best guess" in "\n".join(results.lines({"temps": better}))


def test_what_cannot_be_run_here_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DLRUN_DATA", str(tmp_path))
    monkeypatch.setattr(results, "RUNS", tmp_path / "runs")
    assert results.measure(Experiment("spiral_relu", "", (), needs="temps.csv")) == {
        "not run": "temps.csv is not here"
    }
    unknown = results.measure(Experiment("spiral_relu", "", ("train_loss",), overrides=("epochz=3",)))
    assert "1 mistake" in unknown["not run"]


@pytest.mark.slow
def test_an_experiment_is_trained_and_its_summary_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(results, "RUNS", tmp_path / "runs")
    short = Experiment("spiral_relu", "", ("train_loss", "best.test_accuracy"), 2, overrides=("epochs=2",))
    found = results.measure(short)
    assert found["seeds"] == 2 and found["figures"]["best.test_accuracy"]["sd"] is not None
    assert results.measured_cell(short, found).endswith("(2 seeds)")


def test_what_is_nearly_all_is_not_rounded_to_all() -> None:
    assert results.figure({"mean": 0.99995, "sd": None}) == "0.99995"
    assert results.figure({"mean": 1.0, "sd": None}) == "1.0000"
    assert results.figure({"mean": 0.97719, "sd": 0.00011}) == "0.9772 ± 0.0001"
