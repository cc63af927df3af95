"""Rows keep their split when a table grows, and stand where a column, a group or a date says."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dlrun.data.examples import Data
from dlrun.dataset.csv import csv, of_earlier_runs
from dlrun.errors import UserError


def table(folder: Path, rows: Iterable[str], header: str = "x,y") -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def data_of(path: Path, known: Any = None, **options: Any) -> Data:
    return csv(path.parent, known, **{"path": str(path), "target": "y", "missing": "refuse"} | options)


def places(data: Data) -> dict[int, str]:
    """The split of each row by its key."""
    return {int(key): name for name, some in data.read().items() for key in some.keys}


ROWS = [f"{n * 37 % 101},{n}" for n in range(100)]


@pytest.mark.parametrize(
    "options",
    [{}, {"task": "classification", "target": "k"}, {"id": "n"}, {"date": ["day"]}, {"stratify": "k"}],
    ids=["numbers", "classes", "id", "date", "stratify"],
)
def test_no_row_changes_its_split_when_the_table_grows(tmp_path: Path, options: dict[str, Any]) -> None:
    def row(n: int) -> str:
        return f"2020-01-{n % 28 + 1:02},{n * 37 % 101},{'abc'[n % 3]},{n},{n}"

    header, common = "day,x,k,n,y", {"ignore": [] if "date" in options else ["day"]}
    path = table(tmp_path, map(row, range(100)), header)
    first = data_of(path, **common | options)
    before = places(first)
    assert {*before.values()} == {"train", "valid", "test"}
    grown = [*map(row, range(300, 340)), *map(row, range(50)), row(999), *map(row, range(50, 100))]
    table(tmp_path, grown, header)
    after = places(data_of(path, dict(first.known), **common | options | first.guessed))
    assert {key: after[key] for key in before} == before
    assert len(after) == len(before) + 41


def test_equal_rows_stand_together_even_if_the_columns_change_their_order(tmp_path: Path) -> None:
    first = data_of(table(tmp_path, [f"{n % 20},{n % 20}.0" for n in range(200)]))
    assert len(places(first)) == 20
    turned = data_of(table(tmp_path, [f"{n % 20}.00,{n % 20}" for n in range(200)], "y,x"))
    assert places(turned) == places(first)


def test_a_group_stands_together(tmp_path: Path) -> None:
    path = table(tmp_path, (f"{n},p{n % 10},{n}" for n in range(100)), "x,person,y")
    data = data_of(path, group="person")
    assert data.features == ("x",)
    people = {name: {int(x) % 10 for x in some.inputs[:, 0]} for name, some in data.read().items()}
    assert sum(map(len, people.values())) == 10
    assert min(map(len, people.values())) >= 1


def test_a_column_says_the_split(tmp_path: Path) -> None:
    path = table(tmp_path, (f"{n},{('Training', 'train', 'TEST')[n % 3]},{n}" for n in range(90)), "x,part,y")
    data = data_of(path, split_column="part")
    read = data.read()
    assert data.splits == ("train", "valid", "test")
    assert sorted(read["test"].inputs[:, 0].tolist()) == [n for n in range(90) if n % 3 == 2]
    assert len(read["valid"]) == 6
    assert data_of(path, split_column="part", valid_fraction=0.0).splits == ("train", "test")
    table(tmp_path, ["1,train,2", "2,third,3"], "x,part,y")
    with pytest.raises(UserError, match="part holds 'third', but says in which split a row is"):
        data_of(path, split_column="part")


def test_rows_of_a_split_that_the_model_lacks_are_counted(tmp_path: Path) -> None:
    rows = [f"{n},{'train' if n % 3 else 'test'},{n}" for n in range(30)]
    known = data_of(table(tmp_path, rows, "x,part,y"), split_column="part", valid_fraction=0.0).known
    grown = table(tmp_path, [*rows, "30,valid,30", "31,Dev,31", "32,train,32"], "x,part,y")
    data = data_of(grown, known, split_column="part", valid_fraction=0.0)
    assert {name: len(some) for name, some in data.read().items()} == {"train": 21, "test": 10}
    assert data.notes == ["2 valid rows of part are left out: the model was trained without a valid split"]
    other = tmp_path / "other.csv"
    other.write_text("x,part,y\n40,train,40\n")
    path = table(tmp_path, rows, "x,part,y")
    known = data_of(path, valid_fraction=0.0).known
    data = data_of(path, known, valid_path=str(other), valid_fraction=0.0)
    data.read()
    assert "1 valid row of valid_path is left out: the model was trained without a valid split" in data.notes


def test_splits_may_have_files_of_their_own(tmp_path: Path) -> None:
    path = table(tmp_path, (f"{n},{n}" for n in range(50)))
    other = tmp_path / "other.csv"
    other.write_text("y,x\n" + "".join(f"{n},{n}\n" for n in range(100, 110)))
    data = data_of(path, test_path=str(other))
    read = data.read()
    assert {name: len(some) for name, some in read.items()} == {"train": 45, "valid": 5, "test": 10}
    assert sorted(read["test"].inputs[:, 0].tolist()) == list(range(100, 110))
    assert data.name_of is not None and read["test"].origin is not None
    assert data.name_of(int(read["test"].origin[0])) == "other.csv, row 2"
    both = data_of(path, valid_path=str(other)).read()
    assert {name: len(some) for name, some in both.items()} == {"train": 50, "valid": 10}
    other.write_text("y,z\n1,2\n")
    with pytest.raises(UserError, match="z"):
        data_of(path, test_path=str(other))


def test_a_split_by_date_is_said(tmp_path: Path) -> None:
    path = table(tmp_path, (f"2020-{n // 28 + 1:02}-{n % 28 + 1:02},{n},{n}" for n in range(100)), "day,x,y")
    data = data_of(path, date=["day"])
    read = data.read()
    first = {name: int(read[name].aside["date"].min()) for name in ("valid", "test")}
    said = {name: str(datetime.fromtimestamp(moment, UTC).date()) for name, moment in first.items()}
    assert f"split by day: valid from {said['valid']} on, test from {said['test']} on" in data.findings
    assert not any("split by" in each for each in data_of(path).findings)


def test_every_class_is_in_every_split(tmp_path: Path) -> None:
    rows = [f"{n},{'common' if n < 90 else 'rare' if n < 94 else 'alone'}" for n in range(95)]
    data = data_of(table(tmp_path, rows), task="classification")
    counts = {name: some.targets.bincount(minlength=3).tolist() for name, some in data.read().items()}
    assert data.classes == ("alone", "common", "rare")
    assert [counts[name][2] >= 1 for name in ("train", "valid", "test")] == [True] * 3
    assert counts["train"][0] == 1


@pytest.mark.parametrize("n", [4, 5, 6, 9, 19])
def test_a_small_table_has_two_test_rows_and_no_validation_split(tmp_path: Path, n: int) -> None:
    data = data_of(table(tmp_path, [f"{k},{k * k}" for k in range(n)]))
    tests = max(2, round(n / 5))
    assert {name: len(some) for name, some in data.read().items()} == {"train": n - tests, "test": tests}


def test_a_run_of_an_earlier_dlrun_keeps_its_split(tmp_path: Path) -> None:
    path = table(tmp_path, ROWS)
    earlier = of_earlier_runs | {"categorical": [], "valid_fraction": 0.0}
    data = data_of(path, **earlier)
    assert data.splits == ("train", "test")
    assert len(data.read()["test"]) == 20
    known = {key: data.known[key] for key in ("columns", "categories", "classes", "scaling", "fills")}
    assert places(data_of(path, known, **earlier)) == places(data)


def test_a_split_far_from_its_fraction_is_said(tmp_path: Path) -> None:
    four = [f"{'abcd'[n % 4]},{n % 4},{n % 4}" for n in range(60)]
    said = "the valid split has 15 of 45 rows where 4 were wanted"
    assert f"{said}: equal rows stand together" in data_of(table(tmp_path, four, "g,x,y")).notes
    grouped = data_of(table(tmp_path, four, "g,x,y"), group="g", categorical=[])
    assert f"{said}: rows of a group stand together" in grouped.notes
    assert not data_of(table(tmp_path, ROWS)).notes


def test_too_few_dates_make_no_validation_split_and_that_is_said(tmp_path: Path) -> None:
    path = table(tmp_path, [f"2020-01-0{1 + n // 20},{n % 7},{n}" for n in range(60)], "day,x,y")
    data = data_of(path, date=["day"])
    assert {name: len(some) for name, some in data.read().items()} == {"train": 40, "test": 20}
    assert "there is no validation split, for too few dates differ" in data.notes
    again = data_of(path, dict(data.known), date=["day"], **data.guessed)
    assert places(again) == places(data)


def test_a_model_keeps_its_columns_of_dates_and_the_dates_of_its_splits(tmp_path: Path) -> None:
    path = table(
        tmp_path, [f"2020-01-{1 + n % 28:02},2020-02-{1 + n % 28:02},{n}" for n in range(60)], "a,b,y"
    )
    data = data_of(path, date=["a"])
    assert data.guessed["dates"] == ["b"]
    with pytest.raises(UserError, match=r"the model has its own columns of dates \(there are: b\)"):
        data_of(path, dict(data.known), **data.guessed | {"date": ["a"], "dates": []})
    with pytest.raises(UserError, match="the splits of the model go by dates, and need date"):
        data_of(path, dict(data.known), **data.guessed | {"date": []})


@pytest.mark.parametrize("other", [{"seed": 3}, {"test_fraction": 0.5}, {"valid_fraction": 0.3}])
def test_options_cannot_choose_other_splits_of_a_model(tmp_path: Path, other: dict[str, Any]) -> None:
    path = table(tmp_path, ROWS)
    data = data_of(path)
    with pytest.raises(UserError, match="the splits of the model were made with"):
        data_of(path, dict(data.known), **data.guessed | other)
