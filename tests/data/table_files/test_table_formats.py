"""Tables in other files than plain CSV: packed ones, workbooks, Parquet, Feather, and several at once."""

from __future__ import annotations

import builtins
import bz2
import datetime
import gzip
import lzma
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from cells import rows_of

from dlrun.data.table_files.csv_files import read_table
from dlrun.data.table_files.tables import EVERY_COLUMN, STRICT, Reading
from dlrun.errors import UserError

CSV = "a,b\n1,x\n2,y\n"
ROWS = [["1", "x"], ["2", "y"]]
GUESS = Reading()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("reading", [STRICT, GUESS], ids=["strict", "guessed"])
def test_a_packed_file_is_known_by_its_bytes_not_its_name(
    tmp_path: Path, pack: Any, reading: Reading
) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(pack(CSV.encode()))
    assert rows_of(read_table(path, reading)) == ROWS
    path.write_bytes(pack(CSV.encode())[:-9])
    with pytest.raises(UserError, match=r"not a complete (gzip|bzip2|xz) file"):
        read_table(path, reading)


def archive(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return path


def test_an_archive_holds_one_table_or_the_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "table.zip"
    assert rows_of(read_table(archive(path, {"data/t.csv": CSV, "__MACOSX/._t.csv": "?"}), GUESS)) == ROWS
    archive(path, {"t.csv": CSV, "readme.txt": "a table"})
    with pytest.raises(UserError, match=r"holds 2 files \(there are: t.csv, readme.txt\)"):
        read_table(path, GUESS)
    assert rows_of(read_table(path, Reading(sheet="t.csv"))) == ROWS
    with pytest.raises(UserError, match=r"there is no file 'u.csv' in it; did you mean 't.csv'"):
        read_table(path, Reading(sheet="u.csv"))


def workbook(path: Path, **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.remove(book.worksheets[0])
    book.save(path)
    return path


DAY = datetime.datetime(2016, 1, 31)


def test_a_sheet_is_a_table_whose_cells_have_types(tmp_path: Path) -> None:
    rows = [["n", "x", "day", "ok", "said"], [1, 2.5, DAY, True, "u"], [2, None, DAY, False, None]]
    path = workbook(tmp_path / "t.xlsx", Data=rows)
    table = read_table(path, GUESS)
    assert rows_of(table) == [["1", "2.5", "2016-01-31", "true", "u"], ["2", "", "2016-01-31", "false", ""]]
    assert [column.is_typed for column in table.columns.values()] == [True, True, False, False, False]
    assert table.columns["day"].is_date and list(table.lines) == [2, 3] and not table.notes
    assert rows_of(read_table(path)) == rows_of(table), "a type is no guess"


def test_titles_and_footers_of_a_sheet_are_passed_over_as_in_text(tmp_path: Path) -> None:
    rows = [["Sales of the year"], [], ["shop", "sold"], ["a", 3], ["b", 4], ["Total", 7]]
    table = read_table(workbook(tmp_path / "t.xlsx", Data=rows), GUESS)
    assert rows_of(table) == [["a", "3"], ["b", "4"]] and list(table.lines) == [4, 5]
    assert len(table.notes) == 2 and table.guessed == {"header": 3}


def test_of_several_sheets_the_first_is_read_or_the_named_one(tmp_path: Path) -> None:
    path = workbook(tmp_path / "t.xlsx", Old=[["a"], [1]], New=[["b"], [2]])
    table = read_table(path, GUESS)
    assert list(table.columns) == ["a"] and table.guessed == {"sheet": "Old"}
    assert list(table.notes) == ["the sheet Old is read, the first of 2 (others: New)"]
    assert list(read_table(path, Reading(sheet="New")).columns) == ["b"]
    with pytest.raises(UserError, match="there is no sheet 'Mew'; did you mean 'New'"):
        read_table(path, Reading(sheet="Mew"))
    for number, name in (("1", "a"), ("2", "b")):
        assert list(read_table(path, Reading(sheet=number)).columns) == [name]
    with pytest.raises(UserError, match=r"there is no sheet '3' \(there are: Old, New\)"):
        read_table(path, Reading(sheet="3"))
    path = workbook(tmp_path / "years.xlsx", **{"2": [["a"], [1]], "1": [["b"], [2]]})
    assert list(read_table(path, Reading(sheet="2")).columns) == ["a"], "a name before a number"


def test_a_sheet_without_a_table_is_passed_over(tmp_path: Path) -> None:
    path = workbook(tmp_path / "t.xlsx", Cover=[["Sales of the year"]], Empty=[], Data=[["a"], [1]])
    table = read_table(path, GUESS)
    assert list(table.columns) == ["a"] and table.guessed == {"sheet": "Data"}
    assert list(table.notes) == ["the sheet Data is read, the first with a table of 3 (others: Cover, Empty)"]
    with pytest.raises(UserError, match="the file is empty"):
        read_table(workbook(tmp_path / "none.xlsx", Empty=[], More=[]), GUESS)


def test_formulas_without_values_are_refused(tmp_path: Path) -> None:
    path = workbook(tmp_path / "t.xlsx", Data=[["a", "b"], [1, "=A2*2"], [2, "=A3*2"]])
    with pytest.raises(UserError, match="2 formulas have no value in the file: B2, B3"):
        read_table(path, GUESS)


def test_a_workbook_without_openpyxl_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workbook(tmp_path / "t.xlsx", Data=[["a"], [1]])
    usual = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name == "openpyxl":
            raise ImportError(name)
        return usual(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="need the package openpyxl") as refused:
        read_table(path, GUESS)
    assert "pip install 'dlrun[excel]'" in refused.value.fix


def test_damaged_workbooks_and_those_of_other_programs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.xlsx"
    path.write_bytes(b"\xd0\xcf\x11\xe0" + bytes(99))
    with pytest.raises(UserError, match=r"a workbook \(.xls\)") as refused:
        read_table(path, GUESS)
    assert "save it as .xlsx" in refused.value.fix
    archive(path, {"[Content_Types].xml": "<x/>"})
    with pytest.raises(UserError, match="not a complete workbook"):
        read_table(path, GUESS)
    archive(path, {"mimetype": "application/vnd.oasis.opendocument.spreadsheet"})
    with pytest.raises(UserError, match=r"a document \(.ods\)"):
        read_table(path, GUESS)


ARROW = pa.table(
    {
        "n": pa.array([1, 2, None], pa.int64()),
        "x": pa.array([1.5, float("inf"), None]),
        "day": pa.array([datetime.date(2016, 1, 31), None, datetime.date(2016, 2, 1)]),
        "time": pa.array([DAY, DAY + datetime.timedelta(hours=12), None], pa.timestamp("ns")),
        "ok": pa.array([True, False, None]),
        "said": pa.array(["u", "", "v"]),
        "code": pa.array(["01", "02", "03"]),
        "kind": pa.array(["p", "q", "p"]).dictionary_encode(),
        "took": pa.array([datetime.timedelta(seconds=90), None, None], pa.duration("ms")),
        "none": pa.nulls(3),
        "list": pa.array([[1], [2], [3]]),
    }
)
CELLS = [
    ["1", "1.5", "2016-01-31", "2016-01-31", "true", "u", "01", "p", "90", ""],
    ["2", "inf", "", "2016-01-31 12:00:00", "false", "", "02", "q", "", ""],
    ["", "", "2016-02-01", "", "", "v", "03", "p", "", ""],
]


@pytest.mark.parametrize("write", [pa.parquet.write_table, pa.feather.write_feather])
@pytest.mark.parametrize("reading", [STRICT, GUESS], ids=["strict", "guessed"])
def test_columns_with_types_are_read_as_what_they_are(tmp_path: Path, write: Any, reading: Reading) -> None:
    path = tmp_path / "t.data"
    write(ARROW, str(path))
    table = read_table(path, reading, texts=["code"])
    assert rows_of(table) == CELLS
    typed = [name for name, column in table.columns.items() if column.is_typed]
    assert typed == ["n", "x", "took"]
    assert [name for name, column in table.columns.items() if column.is_date] == ["day", "time"]
    assert table.columns["x"].odd == {1: "inf"}
    (note,) = table.notes
    assert note.startswith("list holds list<") and note.endswith("which is no cell: passed over")
    assert read_table(path, reading).columns["code"].codes is None, "texts of numbers are numbers, as in CSV"
    assert list(table.lines) == [1, 2, 3]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"not a complete (Parquet|Feather) file"):
        read_table(path, reading)


def test_whole_numbers_that_are_rounded_are_said(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"id": [2**60 + 1, 1]}), tmp_path / "t.parquet")
    assert list(read_table(tmp_path / "t.parquet").notes) == [
        "id holds whole numbers beyond 2^53: they are rounded"
    ]


def test_several_files_of_the_same_columns_are_one_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,k\n1,01\n2,02\n")
    (tmp_path / "b.csv").write_text("k;x\nu;3,5\nv;4,5\nw;5,5\n")
    table = read_table(tmp_path / "*.csv", GUESS)
    assert rows_of(table) == [["1", "01"], ["2", "02"], ["3.5", "u"], ["4.5", "v"], ["5.5", "w"]]
    assert isinstance(table.columns["x"].numbers, np.ndarray)
    assert [table.place(row) for row in (0, 1, 2, 4)] == [
        "a.csv, row 2",
        "a.csv, row 3",
        "b.csv, row 2",
        "b.csv, row 4",
    ]
    assert table.notes[0] == "2 files are read as one table: a.csv, b.csv"
    assert "b.csv: separated by semicolons" in table.notes and not table.guessed
    same = read_table([tmp_path / "a.csv", tmp_path / "b.csv"], GUESS)
    assert rows_of(same) == rows_of(table)
    assert read_table(tmp_path / "a.csv").place(1) == "row 3"
    (tmp_path / "c.csv").write_text("x,z\n1,2\n2,3\n")
    with pytest.raises(UserError) as refused:
        read_table(tmp_path / "*.csv", GUESS)
    assert (
        refused.value.what
        == "a.csv has a column k, which c.csv has not; c.csv has a column z, which a.csv has not"
    )
    with pytest.raises(UserError, match="no file matches"):
        read_table(tmp_path / "*.tsv", GUESS)


def test_all_columns_of_several_files_keep_their_texts(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("zip,x\n007,1.50\n")
    table = read_table([tmp_path / "a.csv", tmp_path / "b.csv"], texts=EVERY_COLUMN)
    assert (table.column("zip"), table.column("x")) == (["007"] * 2, ["1.50"] * 2)
    some = read_table([tmp_path / "a.csv", tmp_path / "b.csv"], texts=["zip"])
    assert (some.column("zip"), some.column("x")) == (["007"] * 2, ["1.5"] * 2)
