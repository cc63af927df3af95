"""CSV files as anyone may have written them: read as they are meant, or refused with the line."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from cells import rows_of

from dlrun.data.table_files.columns import number
from dlrun.data.table_files.csv_files import cell, read_table
from dlrun.data.table_files.tables import Table
from dlrun.errors import UserError
from dlrun.system import machine

PLAIN = 'name,size,"said, if anything"\nAnn, 3 , """Hm"", she said,\nand left"\n\nBob,NA,\n'
CELLS = [["Ann", "3", '"Hm", she said,\nand left'], ["Bob", "", ""]]


def table_of(folder: Path, content: str | bytes) -> Table:
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
    assert tuple(table.columns) == ("name", "size", "said, if anything")
    assert rows_of(table) == CELLS
    assert table.lines == [2, 5], "a row is called by the line on which it begins"
    assert table.column("size") == ["3", ""]


def test_rows_may_end_as_windows_ends_them(tmp_path: Path) -> None:
    table = table_of(tmp_path, 'a,b\r\n1,"x\ny"\r\n2,z\r\n')
    assert rows_of(table) == [["1", "x\ny"], ["2", "z"]]
    assert table.lines == [2, 4]


def test_a_table_that_unpacks_to_far_more_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory", lambda: 2**20)
    assert len(table_of(tmp_path, gzip.compress(b"a,b\n" + b"1,2\n" * 1000))) == 1000
    with pytest.raises(UserError, match=r"the table takes .* MiB, but there are 1\.0 MiB of memory"):
        table_of(tmp_path, gzip.compress(b"a,b\n" + b"1,2\n" * 2**18))


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, no_hanging: None) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, said in (
        (".", "is a folder, but a table is one file"),
        ("pipe", "is not a file"),
        ("none", "there is no file"),
    ):
        with pytest.raises(UserError, match=said):
            read_table(tmp_path / name)


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
    with pytest.raises(ValueError, match=r"is not a number|is too large"):
        number(text)


def test_a_text_of_any_length_is_judged_soon(no_hanging: None) -> None:
    for text in ("1" * 100_000 + "x", "1." + "1" * 100_000 + "x", "1e" + "1" * 100_000 + "x"):
        with pytest.raises(ValueError) as refused:
            number(text)
        assert len(str(refused.value)) < 100


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("-1.5", "-1.5"),
        ("+2e3", "+2e3"),
        ("=1+1", "'=1+1"),
        ("-1+cmd", "'-1+cmd"),
        ("@x", "'@x"),
        (-1.5, -1.5),
    ],
)
def test_what_a_spreadsheet_would_run_gets_an_apostrophe_but_no_number(
    value: object, written: object
) -> None:
    assert cell(value) == written
