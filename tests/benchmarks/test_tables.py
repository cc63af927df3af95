"""docs/tables.md counts the tables that train at the first try, and says where others are better."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import tables
from benchmarks.tables import COMPARED, RawTable, raw_tables


def test_the_page_is_what_was_measured() -> None:
    measured = json.loads(tables.MEASURED.read_text(encoding="utf-8"))
    assert tables.PAGE.read_text(encoding="utf-8") == "\n".join(tables.lines(measured)) + "\n", (
        "write it again: python -m benchmarks.tables --table"
    )


def test_every_table_is_listed_once_with_a_target_and_a_task() -> None:
    listed = raw_tables()
    assert len(listed) == len({table.file for table in listed}) >= 45
    assert all(isinstance(table.target, str) and table.task in tables.LOSSES for table in listed)
    assert set(COMPARED) <= {table.file for table in listed}


@pytest.mark.slow
def test_a_table_that_trains_is_told_from_one_that_does_not_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    rows = "".join(f"{x},{x % 7}\n" for x in range(80))
    (tmp_path / "ours" / "good.csv").write_text(f"x,y\n{rows}", encoding="utf-8")
    good = tables.first_try(RawTable("ours", "ours/good.csv", "y", "regression"), tmp_path)
    assert tables.outcome(good) == "trains"
    assert any(said.startswith("x: counts the rows") for said in good["said"])
    bad = tables.first_try(RawTable("ours", "ours/good.csv", "z", "regression"), tmp_path)
    assert (
        tables.outcome(bad).startswith("dataset.target: there is no column 'z'")
        and "(ours/good.csv)" in bad["error"]
    )
    absent = tables.first_try(RawTable("theirs", "theirs/good.csv", "y", "regression"), tmp_path)
    assert tables.outcome(absent) == "theirs could not be installed"


def test_the_count_leaves_out_what_could_not_be_installed() -> None:
    first, second, third = raw_tables()[:3]
    found = {first.file: {"said": ["a|b"]}, second.file: {"error": "no"}, third.file: {"absent": "gone"}}
    text = "\n".join(tables.survey_lines(found))
    assert "nothing else: 1 of 2 tables train" in text
    assert "a\\|b" in text


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([0.9, 0.9], [0.8, 0.8], True),
        ([0.8, 0.8], [0.9, 0.9], False),
        ([0.8, 0.8], [0.75, 0.95], True),
        ([0.7, 0.9], [0.85, 0.87], False),
    ],
)
def test_as_good_is_within_the_spread_of_the_seeds(
    ours: list[float], theirs: list[float], expected: bool
) -> None:
    assert tables.is_as_good(ours, theirs) is expected


def test_trees_win_where_they_are_ahead_of_both_networks_by_more_than_their_spread() -> None:
    figures = {"dlrun": [0.8, 0.82], "mlp": [0.7, 0.7], "trees": [0.9, 0.9], "linear": [0.95, 0.95]}
    assert tables.trees_win(figures)
    assert not tables.trees_win(figures | {"mlp": [0.7, 1.1]})
