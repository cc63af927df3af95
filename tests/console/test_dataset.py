"""`dlrun data` stays readable for any number of columns."""

from __future__ import annotations

import io

import pytest
import yaml
from rich.console import Console

from dlrun.console.dataset import print_columns, print_dataset, print_preview
from dlrun.results.table_columns import ColumnFacts


def test_of_many_columns_those_that_tell_most_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"{place}x" for place in range(2000)]
    columns = [ColumnFacts(name, "number", 0, 5, tells=place / 4000) for place, name in enumerate(names)]
    columns[7] = ColumnFacts("7x", "number", 0, 5, is_target=True, remark="the target")
    print_columns(columns)
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) < 70
    assert "the target" in shown and "1999x" in shown and "1941x" in shown and "1940x" not in shown
    assert "1,940 more tell less; --json has all of them" in shown


def test_raw_numbers_of_many_kinds_are_not_put_together(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"min": 0.0, "mean": 1.6e9, "sd": 1.0, "max": 1.7e9}
    found = {
        "dataset": "csv", "synthetic": True, "task": "regression", "input_shape": [2], "unit": "",
        "vocabulary": 0, "target": "y", "splits": {"train": {"examples": 3}}, "ranges": figures,
        "prepared": figures, "features": {}, "findings": [], "warnings": [],
    }  # fmt: skip
    print_preview(found)
    assert "raw" not in (shown := capsys.readouterr().out) and "as the model gets them" in shown
    assert shown.startswith("csv (synthetic): regression")
    print_preview(found | {"input_shape": [1, 8, 8]})
    assert "all inputs, raw" in capsys.readouterr().out


def test_lists_too_long_to_be_pasted_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    options = {"target": "price", "ignore": ["id", "row"], "categorical": [f"c{n}" for n in range(500)]}
    print_dataset("csv", options)
    said, _, text = capsys.readouterr().out.rstrip().partition("\n")
    assert said == "in a config, with what was guessed:"
    assert text == "dataset:\n  name: csv\n  target: price\n  ignore: [id, row]"


def test_the_dataset_keeps_its_lines_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, file = {"path": "a table with a long name.csv", "target": "price", "ignore": ["id"]}, io.StringIO()
    narrow = Console(file=file, force_terminal=True, width=40, color_system=None)
    monkeypatch.setattr("dlrun.console.dataset.out", lambda: narrow)
    print_dataset("csv", shown)
    _, _, text = file.getvalue().partition("\n")
    assert yaml.safe_load(text) == {"dataset": {"name": "csv"} | shown}
