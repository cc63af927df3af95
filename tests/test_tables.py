"""CSV files as anyone may have written them: read as they are meant, or refused with the line."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from dlrun import tables
from dlrun.errors import UserError
from dlrun.tables import number, read_table

PLAIN = 'name,size,"said, if anything"\nAnn, 3 , """Hm"", she said,\nand left"\n\nBob,NA,\n'
CELLS = [["Ann", "3", '"Hm", she said,\nand left'], ["Bob", "NA", ""]]


def table_of(folder: Path, content: str | bytes) -> tables.Table:
    path = folder / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path)


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode(),
        PLAIN.encode("utf-8-sig"),
        PLAIN.rstrip("\n").encode(),
        gzip.compress(PLAIN.encode()),
    ],
    ids=["plain", "with a mark", "without a last newline", "gzipped"],
)
def test_a_table_is_its_cells_as_text(tmp_path: Path, content: bytes) -> None:
    table = table_of(tmp_path, content)
    assert table.columns == ("name", "size", "said, if anything")
    assert table.rows == CELLS
    assert table.lines == [2, 5], "a row is called by the line on which it begins"
    assert table.column("size") == ["3", "NA"]


def test_rows_may_end_as_windows_ends_them(tmp_path: Path) -> None:
    table = table_of(tmp_path, 'a,b\r\n1,"x\ny"\r\n2,z\r\n')
    assert table.rows == [["1", "x\ny"], ["2", "z"]]
    assert table.lines == [2, 4]


REFUSED: dict[str, tuple[bytes, str, int | None]] = {
    "a row too long": (b"a,b\n1,2\n1,2,3\n", "row 3 has 3 cells, but the header names 2 columns", 3),
    "a row too short": (b'a,b\n"1\n",2\n\n1\n', "row 5 has 1 cell,", 5),
    "two columns of one name": (b"a,b, a\n1,2,3\n", "columns 1 and 3 are both called 'a'", 1),
    "columns without a name": (b",a,\n1,2,3\n", "column 1 has no name; column 3 has no name", 1),
    "a name without end": (b"a," + b"b" * 1001 + b"\n1,2\n", "the name of column 2 is longer than 1,000", 1),
    "a quote that is not closed": (b'a,b\n1,2\n1,"2\n1,2\n', "opened here and never closed", 3),
    "a quote within": (b'a,b\n1,"2"3\n', "between a closing quote and the next comma", 2),
    "a cell without end": (b"a,b\n1,2\n1," + b"x" * 200_000, "longer than 131,072 characters", 3),
    "latin-1": ("a,b\n1,2\n1,é\n".encode("latin-1"), "row 3 is not UTF-8: byte 3 is 0xe9", 3),
    "utf-16": ("a,b\n1,2\n".encode("utf-16"), "row 1 is not UTF-8", 1),
    "semicolons": (b"a;b\n1,5;2\n", "separated by semicolons", 1),
    "tabs": (b"a\tb\n1\t2\n", "separated by tabs", 1),
    "rows of old": (b"a,b\r1,2\r", "a carriage return", 1),
    "nothing": (b"", "the file is empty", None),
    "blank lines": (b"\n\n", "the file is empty", None),
    "a header only": (b"a,b\n", "a header but no rows", None),
    "half a gzip file": (gzip.compress(PLAIN.encode())[:-5], "no whole gzip file", None),
    "a line without end": (gzip.compress(b"x" * (2**24 + 1)), "row 1 is longer than 16,777,216 bytes", None),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_such_table_is_refused_with_its_line(tmp_path: Path, what: str) -> None:
    content, said, line = REFUSED[what]
    with pytest.raises(UserError) as refused:
        table_of(tmp_path, content)
    assert said in refused.value.what
    assert refused.value.where == f"{tmp_path / 'table.csv'}{f':{line}' if line else ''}"
    assert max(map(len, refused.value.lines())) < 300


def test_a_table_that_unpacks_to_far_more_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_MOST_BYTES", 2**20)
    assert len(table_of(tmp_path, gzip.compress(b"a,b\n" + b"1,2\n" * 1000)).rows) == 1000
    with pytest.raises(UserError, match="more than 1 MiB"):
        table_of(tmp_path, gzip.compress(b"a,b\n" + b"1,2\n" * 2**18))


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, no_hanging: None) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, said in ((".", "is no file"), ("pipe", "is no file"), ("none", "there is no file")):
        with pytest.raises(UserError, match=said):
            read_table(tmp_path / name)


def test_a_hundred_thousand_columns_are_a_table(tmp_path: Path, no_hanging: None) -> None:
    names = [f"c{index}" for index in range(100_000)]
    table = table_of(tmp_path, f"{','.join(names)}\n{','.join('1' for _ in names)}\n")
    assert [table.column(name) for name in names] == [["1"]] * len(names)


def test_a_number_is_a_plain_decimal() -> None:
    plain = {"0": 0.0, "-12": -12.0, "+3.50": 3.5, ".5": 0.5, "7.": 7.0, "1e3": 1000.0, "2.5E-2": 0.025}
    assert {text: number(text) for text in plain} == plain
    assert [number(text) for text in ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null")] == [None] * 8


@pytest.mark.parametrize(
    "text",
    [
        "inf", "-Infinity", "1e400", "3.5e38", "1_000", "1,5", "٣", "½", "0x10", "1e", ".",
        "-", "−1", "Na", "NAN", "12°F", "5%", "1.2.3", "--1", "\x001", "True",
    ],
)  # fmt: skip
def test_nothing_else_is_a_number(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no number|is too large"):
        number(text)


def test_a_text_of_any_length_is_judged_soon(no_hanging: None) -> None:
    for text in ("1" * 100_000 + "x", "1." + "1" * 100_000 + "x", "1e" + "1" * 100_000 + "x"):
        with pytest.raises(ValueError) as refused:
            number(text)
        assert len(str(refused.value)) < 100
