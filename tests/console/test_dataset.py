"""`dlrun data` stays readable for any number of columns."""

from __future__ import annotations

import pytest

from dlrun.console.dataset import print_columns, print_dataset
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


def test_lists_too_long_to_be_pasted_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    options = {"target": "price", "ignore": ["id", "row"], "categorical": [f"c{n}" for n in range(500)]}
    print_dataset("csv", options)
    assert capsys.readouterr().out.rstrip() == ("dataset:\n  name: csv\n  target: price\n  ignore: [id, row]")
