"""`dlrun data` says of each column of a table what is in it, even if it cannot be trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dlrun.config.keys import Choice
from dlrun.config.registry import Parts
from dlrun.results.table_columns import ColumnFacts, TableFacts, given_options, grouped, table_facts

ROWS = [
    (
        f"n{x}",
        x % 7,
        "" if x % 10 == 0 else f"{x % 5}.5",
        "ab"[x % 3 == 0],
        f"2020-01-{x % 28 + 1:02d}",
        2 * (x % 7),
    )
    for x in range(60)
]


def facts(
    folder: Path, target: str = "y", task: str = "regression", rows: Sequence[Any] = ROWS, **options: Any
) -> TableFacts:
    path = folder / "t.csv"
    lines = ["key,x,half,letter,day,y", *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    chosen = {"path": str(path), "target": target, "task": task, **options}
    found = table_facts(Choice("csv", chosen), folder)
    assert found is not None
    return found


def test_each_column_has_its_kind_its_cells_and_its_range(tmp_path: Path) -> None:
    found = facts(tmp_path)
    assert found.rows == 60
    key, x, half, letter, day, y = found.columns
    assert [each.kind for each in found.columns] == [
        "category",
        "number",
        "number",
        "category",
        "date",
        "number",
    ]
    assert (x.low, x.high, x.different, x.missing) == ("0", "6", 7, 0)
    assert (half.low, half.high, half.different, half.missing) == ("0.5", "4.5", 5, 6)
    assert (letter.usual, letter.different) == ("a", 2) and letter.share == pytest.approx(40 / 60)
    assert (day.low, day.high) == ("2020-01-01", "2020-01-28")
    assert key.remark == "all its texts differ" and (y.is_target, y.remark) == (True, "the target")


def test_dates_are_told_by_their_options_as_training_does(tmp_path: Path) -> None:
    rows = [(*row[:4], f"{row[4][8:]}/01/2020", row[5]) for row in ROWS[:12]]
    assert "read otherwise" in facts(tmp_path, rows=rows).columns[4].remark
    day = facts(tmp_path, rows=rows, date_format="%d/%m/%Y").columns[4]
    assert (day.kind, day.low, day.high, day.remark) == ("date", "2020-01-01", "2020-01-12", "")
    letter = facts(tmp_path, rows=rows, dates=["letter"]).columns[3]
    assert (letter.kind, letter.missing) == ("empty", 12), "none of its texts is a date"


def test_the_share_of_the_target_that_a_column_tells_is_given(tmp_path: Path) -> None:
    _, x, half, letter, _, y = facts(tmp_path).columns
    assert y.tells is None
    assert x.tells is not None and x.tells > 0.8
    assert max(half.tells or 0, letter.tells or 0) < 0.2
    of_class = facts(tmp_path, "letter", "classification").columns
    assert of_class[3].is_target and (of_class[1].tells or 0) < 0.2


def test_the_target_may_be_stated_by_its_place_or_be_missing(tmp_path: Path) -> None:
    assert [each.is_target for each in facts(tmp_path, "-1").columns] == [False] * 5 + [True]
    assert facts(tmp_path, "1").columns[0].is_target
    unknown = facts(tmp_path, "z")
    assert not any(each.is_target or each.tells is not None for each in unknown.columns)


def test_the_options_that_the_columns_suggest_are_those_of_the_dataset(tmp_path: Path) -> None:
    found = facts(tmp_path, separator=",")
    assert found.options == {"ignore": ["key"], "categorical": ["letter"], "dates": ["day"]}
    assert given_options(Choice("csv", {"target": "y", "missing": "auto", "seed": 3}), Parts()) == {
        "target": "y",
        "seed": 3,
    }


def test_a_dataset_that_reads_no_table_has_no_columns(tmp_path: Path) -> None:
    assert table_facts(Choice("spiral", {}), tmp_path) is None


def test_neighbours_that_are_alike_are_one_line() -> None:
    pixels = [
        ColumnFacts(f"p{place}", "number", 1, place, str(-place), str(place), tells=place / 100)
        for place in range(1, 21)
    ]
    other = [ColumnFacts("p21", "category", 0, 3), ColumnFacts("x1", "number", 0, 2)]
    first, *rest = grouped([*pixels, *other])
    assert (first.name, first.count, first.missing, first.low, first.high) == (
        "p1 … p20",
        20,
        20,
        "-20",
        "20",
    )
    assert (first.tells, first.remark) == (0.2, "most by p20")
    assert rest == other
    assert list(grouped(pixels[:5])) == pixels[:5]


@pytest.mark.parametrize("stated", [{}, {"decimal": ",", "thousands": "."}])
def test_numbers_are_those_that_the_table_is_trained_on(tmp_path: Path, stated: dict[str, str]) -> None:
    """1.000 in a file with decimal commas is a thousand."""
    visitors = [700 + 10 * day for day in range(90)]
    lines = [
        f"{day // 3},5;{count:,}".replace(",", ".").replace(".", ",", 1) for day, count in enumerate(visitors)
    ]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["warm;visitors", *lines]) + "\n", encoding="utf-8")
    found = table_facts(
        Choice("csv", {"path": str(path), "target": "visitors", "task": "regression", **stated}), tmp_path
    )
    assert found is not None
    warm, target = found.columns
    assert (warm.low, warm.high) == ("0.5", "29.5")
    assert (target.low, target.high) == ("700", "1590")


def test_a_category_of_many_texts_tells_what_its_rows_have_in_common(tmp_path: Path) -> None:
    lines = [f"shop {place * 37 % 101},{place * 37 % 101 * 29 % 101}" for place in range(1010)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["shop,sales", *lines]) + "\n", encoding="utf-8")
    found = table_facts(Choice("csv", {"path": str(path), "target": "sales", "task": "regression"}), tmp_path)
    assert found is not None and (found.columns[0].tells or 0) > 0.9


def test_codes_are_shown_as_training_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("plz,y\n" + "".join(f"0{1000 + n % 5},{n}\n" for n in range(60)))
    chosen = {"path": str(path), "target": "y", "task": "regression", "categorical": "auto"}
    found = table_facts(Choice("csv", chosen), tmp_path)
    assert found is not None
    plz, _ = found.columns
    assert (plz.kind, plz.usual, plz.different) == ("category", "01000", 5)
