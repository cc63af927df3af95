"""Tables as people have them, read as they are meant: each guess is noted, and recorded as an option."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cells import rows_of

from dlrun.data.table_files.csv_files import read_table
from dlrun.data.table_files.tables import Reading, Table
from dlrun.errors import UserError

ROWS = [["1", "2.5", "x"], ["2", "3.5", "y"], ["3", "4.5", "x"], ["4", "5.5", "z"]]
NAMES = ["a", "b", "c"]
PLAIN = "a,b,c\n1,2.5,x\n2,3.5,y\n3,4.5,x\n4,5.5,z\n"
C1_TO_C3 = "no line names the columns: they are called c1 to c3"
BODY = PLAIN.split("\n", 1)[1]
POINTS = PLAIN.replace(",", ";")
COMMAS = POINTS.replace(".", ",")


def table_of(folder: Path, content: str | bytes, **options: Any) -> Table:
    path = folder / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, Reading(**options))


@dataclass
class Case:
    content: str | bytes
    said: list[str]
    guessed: dict[str, Any]
    names: list[str] = field(default_factory=lambda: NAMES)
    rows: list[list[str]] = field(default_factory=lambda: ROWS)
    is_strict_alike: bool = True  # if no line among the rows is passed over


INDEXED = [[str(at), *row] for at, row in enumerate(ROWS, 1)]
CASES = {
    "a plain table": Case(PLAIN, [], {}),
    "semicolons": Case(POINTS, ["separated by semicolons"], {"separator": ";"}),
    "tabs": Case(PLAIN.replace(",", "\t"), ["separated by tabs"], {"separator": "tab"}),
    "bars": Case(PLAIN.replace(",", "|"), ["separated by bars"], {"separator": "|"}),
    "spaces": Case(
        "  a   b\tc\n" + BODY.replace(",", "  "), ["separated by spaces"], {"separator": "whitespace"}
    ),
    "quoted semicolons": Case(
        '"a";"b";"c"\n' + BODY.replace(",", ";"), ["separated by semicolons"], {"separator": ";"}
    ),
    "decimal commas": Case(
        COMMAS,
        ["separated by semicolons", "numbers have decimal commas"],
        {"separator": ";", "decimal": ","},
    ),
    "Excel in the west": Case(
        COMMAS.replace("x", "Köln").encode("cp1252"),
        [
            "read as cp1252, for line 2 is not UTF-8 ('Köln')",
            "separated by semicolons",
            "numbers have decimal commas",
        ],
        {"encoding": "cp1252", "separator": ";", "decimal": ","},
        rows=[[cell.replace("x", "Köln") for cell in row] for row in ROWS],
    ),
    "Excel's Unicode text": Case(
        PLAIN.replace(",", "\t").encode("utf-16"),
        ["read as UTF-16", "separated by tabs"],
        {"encoding": "utf-16", "separator": "tab"},
    ),
    "a named separator": Case(
        "sep=,\n" + PLAIN, ["line 1 (sep=) names the separator: passed over"], {"header": 2}
    ),
    "no names": Case(BODY, [C1_TO_C3], {"header": "none"}, ["c1", "c2", "c3"]),
    "counts above": Case(
        "4,2,x,y,z\n" + BODY,
        ["line 1 ('4,2,x,y,z') has 5 cells, the others 3: passed over", C1_TO_C3],
        {"columns": ["c1", "c2", "c3"]},
        ["c1", "c2", "c3"],
    ),
    "a title": Case(
        f"My measurements\n\n{PLAIN}",
        ["line 1 ('My measurements') has 1 cell, the others 3: passed over"],
        {"header": 3},
    ),
    "titles that Excel filled up": Case(
        f"My measurements,,\nof last year,,\n{PLAIN}",
        ["lines 1 to 2 stand before the table ('My measurements,,'): passed over"],
        {"header": 3},
    ),
    "remarks": Case(
        f"# from the lab\n# in June\n{PLAIN}",
        ["2 lines before the table are remarks (#): passed over"],
        {"header": 3},
    ),
    "names in a remark": Case(
        f"# from the lab\n# a,b,c\n{BODY}",
        ["line 1 is a remark (#): passed over"],
        {"header": 2, "columns": NAMES},
    ),
    "a remark among the rows": Case(
        PLAIN.replace("3,4.5", "# a break\n3,4.5"),
        ["line 4 is a remark (#): passed over"],
        {},
        is_strict_alike=False,
    ),
    "an index of pandas": Case(
        ",a,b,c\n" + "".join(",".join(row) + "\n" for row in INDEXED),
        ["column 1 has no name: it is called index"],
        {"columns": ["index", *NAMES]},
        ["index", *NAMES],
        INDEXED,
    ),
    "names of rows from R": Case(
        '"a" "b" "c"\n' + "".join(f'"{row[0]}" ' + " ".join(row[1:]) + "\n" for row in INDEXED),
        ["separated by spaces", "column 1 has no name: it is called index"],
        {"separator": "whitespace", "columns": ["index", *NAMES]},
        ["index", *NAMES],
        INDEXED,
    ),
    "separators at the ends": Case(PLAIN.replace("\n", ",\n"), [], {"columns": NAMES}),
    "separators at the ends of the rows": Case(
        "a,b,c\n" + BODY.replace("\n", ",\n"),
        [],
        {"columns": NAMES},
    ),
    "a separator at the end of the header": Case("a,b,c,\n" + BODY, [], {"columns": NAMES}),
    "two columns of one name": Case(
        "a,b,a\n" + BODY,
        ["the name 'a' is there again: column 3 is called a (2)"],
        {"columns": ["a", "b", "a (2)"]},
        ["a", "b", "a (2)"],
    ),
    "a column without a name": Case(
        "a,,c\n" + BODY,
        ["column 2 has no name: it is called column 2"],
        {"columns": ["a", "column 2", "c"]},
        ["a", "column 2", "c"],
    ),
    "units": Case(
        "a,b,c\n[s],[m],\n" + BODY,
        ["line 2 ('[s],[m],') holds units: passed over"],
        {"header": 2, "columns": NAMES},
    ),
    "marks before the first name": Case(
        b"\xef\xbb\xbf" * 2 + PLAIN.encode(),
        ["invisible characters in the first lines are left out"],
        {"columns": NAMES},
    ),
    "a zero-width space": Case(
        f"\u200b{PLAIN}",
        ["invisible characters in the first lines are left out"],
        {"columns": NAMES},
    ),
    "ends of old Macintoshes": Case(PLAIN.replace("\n", "\r"), [], {}, is_strict_alike=False),
    "rows of nothing": Case(
        f"{PLAIN},,\n,,\n",
        ["2 lines are without any value: passed over (line 6, line 7)"],
        {},
        is_strict_alike=False,
    ),
    "the header again": Case(
        PLAIN.replace("3,4.5", "a,b,c\n3,4.5"),
        ["line 4 is the header again: passed over"],
        {},
        is_strict_alike=False,
    ),
    "a footer": Case(
        f"{PLAIN}\nSource: the lab\n",
        ["line 7 ('Source: the lab') stands behind the table: passed over"],
        {},
        is_strict_alike=False,
    ),
    "a row of sums": Case(
        f"{PLAIN}Total,16,\n",
        ["line 6 ('Total') sums up the rows: passed over"],
        {},
        is_strict_alike=False,
    ),
    "quoted names": Case(
        "'a','b','c'\n" + BODY,
        ["quotes (') around the names of columns are left out"],
        {"columns": NAMES},
    ),
    "lists in a column": Case(
        "a,b,c\n1,2.5,u;v\n2,3.5,u;w\n", [], {}, rows=[["1", "2.5", "u;v"], ["2", "3.5", "u;w"]]
    ),
    "a comma in a name": Case(
        "cost, EUR;b\n4,5;2\n5,5;3\n",
        ["separated by semicolons", "numbers have decimal commas"],
        {"separator": ";", "decimal": ","},
        ["cost, EUR", "b"],
        [["4.5", "2"], ["5.5", "3"]],
    ),
    "years as names": Case(
        "c,2001,2002\nx,1,2\ny,3,4\n", [], {}, ["c", "2001", "2002"], [["x", "1", "2"], ["y", "3", "4"]]
    ),
    "words alone, with names": Case(
        "size,colour\nbig,red\nsmall,blue\nbig,blue\n",
        [],
        {},
        ["size", "colour"],
        [["big", "red"], ["small", "blue"], ["big", "blue"]],
    ),
    "words alone, without names": Case(
        "big,red\nsmall,blue\nbig,blue\nsmall,red\n",
        ["no line names the columns: they are called c1 to c2"],
        {"header": "none"},
        ["c1", "c2"],
        [["big", "red"], ["small", "blue"], ["big", "blue"], ["small", "red"]],
    ),
    "years as names, with gaps": Case(
        "country,1990,1995,2001\nA,5,4,3\nB,3,6,9\n",
        [],
        {},
        ["country", "1990", "1995", "2001"],
        [["A", "5", "4", "3"], ["B", "3", "6", "9"]],
    ),
    "numbers as names behind that of the rows": Case(
        ",1.5,2.5,3.75\nA,5,6,7\nB,3,6,9\n",
        ["column 1 has no name: it is called index"],
        {"columns": ["index", "1.5", "2.5", "3.75"]},
        ["index", "1.5", "2.5", "3.75"],
        [["A", "5", "6", "7"], ["B", "3", "6", "9"]],
    ),
    "a row whose first cell is empty": Case(
        ",1.5,2.5,3.75\nA,5,6,7\nB,1,2,9\nC,2,3,1\n",
        ["no line names the columns: they are called c1 to c4"],
        {"header": "none"},
        ["c1", "c2", "c3", "c4"],
        [["", "1.5", "2.5", "3.75"], ["A", "5", "6", "7"], ["B", "1", "2", "9"], ["C", "2", "3", "1"]],
    ),
    "wavelengths above fractions": Case(
        ",400.5,401.5,403\na,0.1,0.2,0.3\nb,0.3,0.1,0.2\nc,0.2,0.4,0.1\n",
        ["column 1 has no name: it is called index"],
        {"columns": ["index", "400.5", "401.5", "403"]},
        ["index", "400.5", "401.5", "403"],
        [["a", "0.1", "0.2", "0.3"], ["b", "0.3", "0.1", "0.2"], ["c", "0.2", "0.4", "0.1"]],
    ),
    "years in the rows": Case(
        "A,1990,1995,2001\nB,1991,1992,2000\nC,1980,1985,1999\n",
        ["no line names the columns: they are called c1 to c4"],
        {"header": "none"},
        ["c1", "c2", "c3", "c4"],
        [["A", "1990", "1995", "2001"], ["B", "1991", "1992", "2000"], ["C", "1980", "1985", "1999"]],
    ),
    "a quoted newline": Case(
        'a,b,c\n1,2,"x\ny"\n3,4,z\n', [], {}, rows=[["1", "2", "x\ny"], ["3", "4", "z"]]
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_a_table_is_read_as_it_is_meant_and_each_guess_is_said(tmp_path: Path, what: str) -> None:
    case = CASES[what]
    table = table_of(tmp_path, case.content)
    assert list(table.columns) == case.names
    assert rows_of(table) == case.rows
    assert list(table.notes) == case.said
    assert dict(table.guessed) == case.guessed


@pytest.mark.parametrize("what", [what for what, case in CASES.items() if case.is_strict_alike])
def test_what_was_guessed_are_options_by_which_a_strict_reading_gives_the_same(
    tmp_path: Path, what: str
) -> None:
    table = table_of(tmp_path, CASES[what].content)
    strict = table_of(tmp_path, CASES[what].content, is_strict=True, **table.guessed)
    assert list(strict.columns) == list(table.columns) and list(strict.lines) == list(table.lines)
    assert rows_of(strict) == rows_of(table)
    assert not strict.notes and not strict.guessed


def test_a_row_is_called_by_its_line(tmp_path: Path) -> None:
    assert list(table_of(tmp_path, f"A title\n\n{PLAIN}").lines) == [4, 5, 6, 7]
    assert list(table_of(tmp_path, 'a,b\n1,"x\ny"\n\n2,z\n').lines) == [2, 5]
    assert list(table_of(tmp_path, PLAIN.replace("\n", "\r\n")).lines) == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("content", "said", "line"),
    [
        ("a,b,c\n1,2,3\n4,5\n6,7,8\n9,1,2\n", ["1 row has too few cells for 3 columns: row 3 has 2"], 3),
        (
            "a,b,c\n1,2,3\n4,5\n6,7,8,9\n9,1,2\n3,4\n5,6,7\n1,2,3\n",
            [
                "2 rows have too few cells for 3 columns: row 3 has 2, row 6 has 2",
                "1 row has too many cells for 3 columns: row 4 has 4",
            ],
            3,
        ),
        (
            'a,b,c\n1,2,3\n1,2\n1,"2"3,4\n1,2,3\n2,3,"4\n',
            ["1 row has too few", "closing quote and the next comma (row 4)", "never closed (row 6)"],
            3,
        ),
        ("a,b,c,d\n1,2,3\n4,5,6\n", ["line 1 names 4 columns, but the rows have 3 cells"], 1),
        ("a,b\n", ["a header but no rows"], None),
        ("", ["the file is empty"], None),
        ("\n\n  \n", ["the file is empty"], None),
        (b"a,b\n1,\0\n", ["row 2 holds a byte 0"], None),
        (b"a,b\n1,\x81\x8d\n", ["row 2 is neither UTF-8 nor cp1252"], 2),
    ],
)  # fmt: skip
def test_mistakes_of_all_kinds_are_one_message(
    tmp_path: Path, content: str | bytes, said: list[str], line: int | None
) -> None:
    with pytest.raises(UserError) as refused:
        table_of(tmp_path, content)
    for words in said:
        assert words in refused.value.what
    path = tmp_path / "table.csv"
    assert refused.value.where == (f"{path}:{line}" if line else str(path))


def test_a_number_with_a_point_is_none_where_commas_are_decimal(tmp_path: Path) -> None:
    table = table_of(tmp_path, "a;b\n1,5;1.234\n2,5;2,5\n3,5;3,5\n")
    assert table.columns["b"].odd == {0: "1.234"}, "it may mean 1234"
    thousands = table_of(tmp_path, "a;b\n1;1,070\n2;2,080\n")
    assert "decimal" not in thousands.guessed, "1,070 may be a thousand and seventy"
    assert thousands.column("b") == ["1,070", "2,080"]


def test_options_go_before_guesses(tmp_path: Path) -> None:
    assert list(table_of(tmp_path, PLAIN, columns=["x", "y", "z"]).columns) == ["x", "y", "z"]
    table = table_of(tmp_path, PLAIN, header="none")
    assert list(table.columns) == ["c1", "c2", "c3"] and table.column("c1")[0] == "a"
    table = table_of(tmp_path, BODY, header=1)
    assert list(table.columns) == ["1", "2.5", "x"] and list(table.lines) == [2, 3, 4]
    assert table_of(tmp_path, COMMAS, decimal=".").columns["b"].codes is not None
    table = table_of(tmp_path, "a,b\n1,-999\n2,?\n3,4\n", na_values=["-999", "?"])
    assert table.columns["b"].missing.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"columns": ["x"]}, "columns names 1 column, but the table has 3"),
        ({"columns": ["x", "x", "y"]}, "names a column twice"),
        ({"separator": "ab"}, "must be one sign, tab or whitespace"),
        ({"encoding": "utf9"}, "there is no encoding 'utf9'"),
        ({"encoding": "base64"}, "there is no encoding 'base64'"),
        ({"separator": ";", "columns": ["a", "b"]}, "columns"),
        ({"header": 9}, r"line 9\b"),
    ],
)
@pytest.mark.parametrize("is_strict", [False, True])
def test_an_option_that_does_not_fit_is_refused(
    tmp_path: Path, options: dict[str, Any], said: str, is_strict: bool
) -> None:
    with pytest.raises(UserError, match=said):
        table_of(tmp_path, PLAIN, is_strict=is_strict, **options)


def test_a_blank_line_of_a_single_column_is_a_row_without_a_value(tmp_path: Path) -> None:
    table = table_of(tmp_path, 'x\n1\n\n3\n\n"a\nb"\n4\n\n\n')
    assert rows_of(table) == [["1"], [""], ["3"], [""], ["a\nb"], ["4"]]
    assert list(table.lines) == [2, 3, 4, 5, 6, 8], "blank lines at the end are none"
    two = table_of(tmp_path, "x,y\n1,2\n\n3,4\n")
    assert list(two.lines) == [2, 4]


def test_very_wide_rows_are_judged_by_more_than_the_first(tmp_path: Path) -> None:
    names = [f"c{at}" for at in range(30_000)]
    rows = "".join(";".join([str(at)] * len(names)) + "\n" for at in range(3))
    table = table_of(tmp_path, f"{';'.join(names)}\n{rows}")
    assert (len(table), len(table.columns)) == (3, 30_000)
    assert table.column("c29999") == ["0", "1", "2"]
