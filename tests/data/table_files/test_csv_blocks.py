"""Large CSV files, read in blocks: the same table as that of the csv module, or left to it."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dlrun.data.table_files import csv_files
from dlrun.data.table_files.columns import Column, TextColumns
from dlrun.data.table_files.csv_blocks import Irregular, blocks
from dlrun.data.table_files.csv_files import read_table
from dlrun.data.table_files.csv_rows import BodyReader
from dlrun.data.table_files.gathered_columns import (
    CellReading,
    Gathered,
    Memory,
    MustBeText,
    Piece,
    pieces_of,
)
from dlrun.data.table_files.layouts import Layout, layout_of
from dlrun.data.table_files.packed_files import PackedFile
from dlrun.data.table_files.tables import STRICT, Reading, Table
from dlrun.data.table_files.text_encodings import TextFile, text_file
from dlrun.data.tabular.column_kinds import are_codes
from dlrun.errors import UserError

NUMBERS = st.sampled_from(
    ["1", "2.5", "-3e2", "+4", ".5", "7.", "0", "007", "0042", "", "NA", "nan", " 6 ", "1e-300"]
)
ODD = st.sampled_from(
    ["x", "inf", "1e400", "1_0", "0x10", "?", "é", "a b", 'say "so"', "two\nlines", "1,5", "#1", "  ", "\n"]
)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=6)


def is_same(one: Column, other: Column) -> bool:
    if (one.codes is None) != (other.codes is None):
        return False
    if one.codes is not None and other.codes is not None:
        return list(one.texts) == list(other.texts) and one.codes.tolist() == other.codes.tolist()
    assert one.numbers is not None and other.numbers is not None
    are_equal = np.array_equal(one.numbers, other.numbers, equal_nan=True) and dict(one.odd) == dict(
        other.odd
    )
    return are_equal and are_codes(one) == are_codes(other)


def by_blocks(text: TextFile, layout: Layout, cells: CellReading, size: int) -> Gathered:
    gathered = Gathered(layout.names, cells, Memory.of(len(layout.names), text.most_lines))
    for piece in blocks(text, layout, cells, is_strict=False, size=size):
        gathered.add(piece)
    return gathered


def columns_of(gathered: Gathered, again: Any) -> dict[str, Column]:
    """The columns, read again if some of them hold texts."""
    try:
        return gathered.columns()
    except MustBeText as error:
        return columns_of(again(CellReading(texts=TextColumns() | error.names)), again)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.sampled_from([24, 60, 4096]), st.sampled_from(["\n", "\r\n"]))
def test_a_file_read_in_blocks_is_the_table_of_the_csv_module(
    tmp_path: Path, data: st.DataObject, size: int, end: str
) -> None:
    usual = data.draw(st.lists(st.sampled_from([NUMBERS, NUMBERS | ODD, ODD, WORDS]), min_size=2, max_size=4))
    rows = data.draw(st.lists(st.tuples(*usual), min_size=1, max_size=12))
    written = io.StringIO()
    writer = csv.writer(written, lineterminator=end)
    writer.writerow([f"name{at}" for at in range(len(usual))])
    writer.writerows(rows)
    path = tmp_path / "table.csv"
    path.write_bytes(written.getvalue().encode())
    try:
        text = text_file(PackedFile.at(path))
        layout = layout_of(text, Reading(separator=",", header=1))
        body = BodyReader(layout)

        def again(cells: CellReading) -> Gathered:
            gathered = Gathered(layout.names, cells)
            for piece in pieces_of(BodyReader(layout).rows_of_text(text), layout.names, cells):
                gathered.add(piece)
            return gathered

        expected = again(CellReading())
        if not expected.rows:
            return
        list(body.rows_of_text(text))
        columns = columns_of(expected, again)
    except UserError:
        return  # a table that nothing can read
    try:
        found = by_blocks(text, layout, CellReading(), size)
        again_in_blocks = columns_of(found, lambda cells: by_blocks(text, layout, cells, size))
    except Irregular:
        return
    assert not body.notes, "only the csv module may pass over a line"
    assert list(found.lines) == list(expected.lines)
    for name, column in columns.items():
        assert is_same(again_in_blocks[name], column), name


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        NUMBERS | ODD | st.from_regex(r"[-+ ]?[0-9a-fx_.]{0,4}(e[-+]?[0-9]{1,3})?", fullmatch=True),
        min_size=4,
        max_size=4,
    )
)
@example(["infinity", "-inf", "nan(1)", "1e999"])
@example(["NAN"] * 4)
@example(["-nan", "1", "2", "3"])
@example(["infinity"] * 4)
@example(["0x1p3", "1d5", "1e5f", "\t1"])
@example(["٣", "1\u00a0", "−1", "1e308"])
@example(["1", "-1e39", "2", "3"])
@example(["1", "1e39", "2", "3"])
def test_a_cell_is_the_same_number_or_none(tmp_path: Path, cells: list[str]) -> None:
    path = tmp_path / "table.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([["x", "y"], *([cell, "1"] for cell in cells)])
    text = text_file(PackedFile.at(path))
    layout = Layout(str(path), ",", ".", ("x", "y"), 2, 2)
    try:
        (piece,) = blocks(text, layout, CellReading(), is_strict=False)
    except Irregular:
        return
    assert is_same(
        piece.columns[0],
        next(iter(pieces_of(layout_rows(text, layout), ("x", "y"), CellReading()))).columns[0],
    )


def layout_rows(text: TextFile, layout: Layout) -> Any:
    return BodyReader(layout).rows_of_text(text)


def large(
    folder: Path, monkeypatch: pytest.MonkeyPatch, content: str | bytes, reading: Reading = STRICT
) -> Table:
    """The table in a file that counts as large."""
    path = folder / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setattr(csv_files, "_LARGE", 1)
    return read_table(path, reading)


def test_a_mistake_in_a_large_file_is_said_as_in_a_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "".join(f"{at},{at}\n" for at in range(100))
    with pytest.raises(UserError, match="row 102 has 3 cells, but the header names 2 columns"):
        large(tmp_path, monkeypatch, f"a,b\n{rows}1,2,3\n")
    with pytest.raises(UserError, match="1 row has too many cells for 2 columns: row 102 has 3"):
        large(tmp_path, monkeypatch, f"a,b\n{rows}1,2,3\n", Reading())
    with pytest.raises(UserError, match="never closed"):
        large(tmp_path, monkeypatch, f'a,b\n{rows}1,"2\n', Reading())
    with pytest.raises(UserError, match="row 102 is not UTF-8"):
        large(tmp_path, monkeypatch, f"a,b\n{rows}1,é\n".encode("cp1252"))


def test_what_is_no_row_is_noted_in_a_large_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(f"{at};{at},5\n" for at in range(100))
    table = large(tmp_path, monkeypatch, f"a;b\n{rows}\n;\n# enough\nSum;4950\n", Reading())
    assert len(table) == 100 and table.columns["b"].numbers is not None
    assert len([note for note in table.notes if "passed over" in note]) == 3
    (note,) = large(
        tmp_path, monkeypatch, f"a;b\n{rows}Sum;4950\n", Reading(decimal=",", separator=";")
    ).notes
    assert note == "line 102 ('Sum') sums up the rows: passed over"
    assert dict(table.guessed) == {"separator": ";", "decimal": ","}


ROWS = b"1.5,2.5\n" * 50
ROWS_OR_NOT = {
    "blank lines at the end": b"ab,cdef\n" + ROWS + b"\n" * 40,
    "a sum before blank lines": b"ab,cdef\n" + ROWS + b"Sum,125\n" + b"\n" * 40,
    "codes behind whole numbers": b"ab,cdef\n" + b"123,2\n" * 200 + b"007,2\n" * 200,
    "a remark behind a space": b"ab,cdef\n" + ROWS + b" #1.5,2.5\n" + ROWS,
    "the header again with a space": b"ab,cdef\n" + ROWS + b"ab ,cdef\n" + ROWS,
    "blank lines amid": b"ab,cdef\n" + ROWS + b"\n" * 40 + ROWS,
    "a row of spaces": b"ab,cdef\n" + ROWS + b"  ,\t \n" + ROWS,
    "a row of quoted newlines": b"ab,cdef\n" + ROWS + b'"\n","\n"\n' + ROWS,
    "words and a row of spaces": b"ab,cdef\n" + b"x,y\n" * 50 + b"  ,  \n" + ROWS,
    "one column that ends with spaces": b"ab\n" + b"1.5\n" * 50 + b"  \n",
    "one column with a blank line": b"ab\n" + b"1.5\n" * 50 + b"\n" * 40 + b"2.5\n",
    "one column with a block of blank lines": b"abc\n" + b"1.5\n" * 7 + b"\n" * 32 + b"2.5\n" * 8,
    "a header that ends with a carriage return": b"ab,cdef\r" + ROWS,
    "a header that ends with two": b"ab,cdef\r\r\n" + ROWS,
    "rows that end with carriage returns": b"ab,cdef\r" + ROWS.replace(b"\n", b"\r"),
}


@pytest.mark.parametrize("size", [32, 4096])
@pytest.mark.parametrize("content", ROWS_OR_NOT.values(), ids=[*ROWS_OR_NOT])
def test_a_large_file_has_the_rows_and_notes_of_a_small_one(
    content: bytes, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlrun.data.table_files.csv_blocks._BLOCK", size)
    (tmp_path / "small.csv").write_bytes(content)
    expected = read_table(tmp_path / "small.csv", Reading())
    found = large(tmp_path, monkeypatch, content, Reading())
    assert list(found.lines) == list(expected.lines) and found.notes == expected.notes
    assert all(is_same(found.columns[name], column) for name, column in expected.columns.items())


def test_a_strict_reading_keeps_invisible_characters_in_a_large_file_as_in_a_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "a,b\n1,x\n2,\u200bx\n3,y\n"
    (tmp_path / "small.csv").write_text(content, encoding="utf-8")
    expected = read_table(tmp_path / "small.csv").column("b")
    assert large(tmp_path, monkeypatch, content).column("b") == expected == ["x", "\u200bx", "y"]
    assert large(tmp_path, monkeypatch, content, Reading()).column("b") == ["x", "x", "y"]


def test_a_column_that_turns_out_to_hold_texts_keeps_each_text(tmp_path: Path) -> None:
    first, second = [["01", "1"]], [["x", "2"], ["y", "3"], ["z", "4"]]

    def read(cells: CellReading) -> Gathered:
        gathered = Gathered(("a", "b"), cells)
        for start, rows in ((2, first), (3, second)):
            (piece,) = pieces_of([(start + at, row) for at, row in enumerate(rows)], ("a", "b"), cells)
            gathered.add(piece)
        return gathered

    with pytest.raises(MustBeText) as error:
        read(CellReading()).columns()
    assert list(error.value.names) == ["a"]
    columns = read(CellReading(texts=TextColumns() | error.value.names)).columns()
    assert columns["a"].cells() == ["01", "x", "y", "z"] and columns["b"].codes is None


def test_a_column_of_texts_that_turns_out_to_hold_numbers_is_one_of_numbers() -> None:
    gathered = Gathered(("a",))
    for piece in (
        Piece([2], [Column.of_texts(["x"], frozenset())]),
        *pieces_of([(3, ["1"]), (4, ["2"])], ("a",), CellReading()),
    ):
        gathered.add(piece)
    assert gathered.columns()["a"].odd == {0: "x"} and gathered.lines == range(2, 5)


@pytest.mark.parametrize("size", [12, 4096])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_of_blocks_know_their_lines(tmp_path: Path, end: str, size: int) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(end.join(["a,b", "1,2", "", "3,4", '"x', 'y",5', "6,7", ""]).encode())
    gathered = by_blocks(
        text_file(PackedFile.at(path)), Layout("", ",", ".", ("a", "b"), 2, 2), CellReading(), size
    )
    assert list(gathered.lines) == [2, 4, 5, 7]


def test_only_what_may_be_no_row_is_left_to_the_csv_module(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"a,b\n,1\n2,\n3,4")
    text = text_file(PackedFile.at(path))
    assert by_blocks(text, Layout("", ",", ".", ("a", "b"), 2, 2), CellReading(), 4096).rows == 3
    with pytest.raises(Irregular):  # the rows begin behind the end
        by_blocks(text, Layout("", ",", ".", ("a", "b"), 9, 2), CellReading(), 4096)


def test_the_lines_of_a_text_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    for end in (b"\n", b"\r\n"):
        path.write_bytes(b"1,2" + end + b"3,4" + end * 2**20)
        assert text_file(PackedFile.at(path)).most_lines == 2**20 + 2


def test_random_tables_of_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(5)
    rows = [
        [str(at), f"{chance.gauss(0, 1):.6g}", chance.choice("abc"), chance.choice(["", "1", "2"])]
        for at in range(5000)
    ]
    content = "n,x,k,m\n" + "".join(",".join(row) + "\n" for row in rows)
    small = tmp_path / "small.csv"
    small.write_text(content)
    expected = read_table(small, Reading())
    monkeypatch.setattr("dlrun.data.table_files.csv_blocks._BLOCK", 2**12)
    table = large(tmp_path, monkeypatch, content, Reading())
    assert list(table.lines) == list(expected.lines)
    assert all(is_same(table.columns[name], column) for name, column in expected.columns.items())
