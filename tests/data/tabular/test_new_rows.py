"""New rows are read, encoded and predicted piece by piece, and become what the whole file would become."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable, Iterator
from datetime import date
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import torch
from small_runs import planned, trained

from dlrun.data.examples import Data, NewInputs
from dlrun.data.table_files import arrow_files, csv_blocks, csv_files, gathered_columns
from dlrun.data.table_files.columns import Column
from dlrun.data.table_files.tables import Table
from dlrun.data.tabular import new_rows
from dlrun.data.tabular.encoding import Encoding, TableOptions
from dlrun.data.trees import single
from dlrun.dataset.csv import csv
from dlrun.errors import UserError
from dlrun.run_folders.run import Run

HEADER = "size,sky,when,note,y"


def cells_of(n: int) -> list[str]:
    """The cells of a row; here and there a number is missing, a sky is new, a note has several lines."""
    size = "" if n % 7 == 3 else f"{n % 11}.5"
    sky = "pink" if n in (20, 38) else ("grey", "blue", '"grey, or blue"')[n % 3]
    note = f'"two\nlines, ""{n}"""' if n % 5 == 1 else f"note {n}"
    return [size, sky, f"2020-{n % 12 + 1:02}-{n % 28 + 1:02}", note, str(n % 9)]


ROWS = [cells_of(n) for n in range(50)]


def with_separator(rows: list[list[str]], separator: str, header: str = HEADER) -> str:
    return "\n".join(separator.join(cells) for cells in [header.split(","), *rows]) + "\n"


def data_of(folder: Path, text: str = "", known: Any = None, **options: Any) -> Data:
    path = folder / "table.csv"
    path.write_text(text or with_separator([row for n, row in enumerate(ROWS) if n not in (20, 38)], ","))
    return csv(folder, known, **{"path": str(path), "target": "y", "ignore": ["note"]} | options)


def pieces_of(data: Data, path: Path) -> list[NewInputs]:
    assert data.read_new is not None
    pieces = list(data.read_new(path))
    assert all(isinstance(piece, NewInputs) for piece in pieces)
    return [piece for piece in pieces if isinstance(piece, NewInputs)]


def names_of(data: Data, path: Path) -> list[str]:
    return [name for piece in pieces_of(data, path) for name in piece.names]


def inputs_in(pieces: list[NewInputs]) -> torch.Tensor:
    return torch.cat([single(piece.inputs) for piece in pieces])


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of any size are read in blocks of some rows, and predicted three rows at a time."""
    monkeypatch.setattr(csv_files, "_LARGE", 1)
    monkeypatch.setattr(csv_blocks, "_BLOCK", 90)
    monkeypatch.setattr(gathered_columns, "_ROWS", 4)
    monkeypatch.setattr(arrow_files, "_ROWS", 4)
    monkeypatch.setattr(new_rows, "_AT_ONCE", 3)


def as_parquet(path: Path, text: str) -> None:
    """The same table in Parquet, with the types of pandas: numbers, texts, dates."""
    columns: dict[str, Any] = dict(zip(HEADER.split(","), zip(*ROWS, strict=True), strict=True))
    columns["size"] = [float(cell) if cell else None for cell in columns["size"]]
    columns["sky"] = [cell.strip('"') for cell in columns["sky"]]
    columns["when"] = list(map(date.fromisoformat, columns["when"]))
    columns["y"] = list(map(int, columns["y"]))
    pa.parquet.write_table(pa.table(columns), path, row_group_size=11)


def as_feather(path: Path, text: str) -> None:
    as_parquet(path, text)
    pa.feather.write_feather(pa.parquet.read_table(path), str(path), chunksize=13)


def as_zip(path: Path, text: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rows.csv", text)


FILES: dict[str, Callable[[Path, str], Any]] = {
    "csv": lambda path, text: path.write_text(text, encoding="utf-8"),
    "csv of Windows": lambda path, text: path.write_bytes(text.replace("note", "né").encode("cp1252")),
    "csv with a remark in the middle": lambda path, text: path.write_text(
        text.replace("\n,", "\n# enough\n,", 3)
    ),
    "csv with a sum at the end": lambda path, text: path.write_text(f"{text}Total,,,,450\n"),
    "gzip": lambda path, text: path.write_bytes(gzip.compress(text.encode())),
    "zip": as_zip,
    "parquet": as_parquet,
    "feather": as_feather,
}


PASSED_OVER = ("csv with a remark in the middle", "csv with a sum at the end")


@pytest.mark.parametrize("form", FILES)
def test_rows_read_in_pieces_are_those_of_the_whole_file(
    tmp_path: Path, small_pieces: None, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    data = data_of(tmp_path)
    assert data.read_labelled is not None
    new = tmp_path / "new"
    FILES[form](new, with_separator(ROWS, ","))
    whole = data.read_labelled(new)
    said = [note for note in data.notes if "no training row holds" in note]
    data.notes.clear()
    pieces = pieces_of(data, new)
    assert [len(piece.names) for piece in pieces] == [3] * 16 + [2]
    assert torch.equal(inputs_in(pieces).nan_to_num(-1), single(whole.inputs).nan_to_num(-1))
    assert whole.origin is not None
    assert [name for piece in pieces for name in piece.names] == [
        data.name_of(number) for number in whole.origin.tolist()
    ]
    (filled, unseen) = [note for note in data.notes if "passed over" not in note]
    assert len(data.notes) == 2 + (form in PASSED_OVER)
    assert "7 cells are missing: size in" in filled
    assert [unseen] == said and unseen.startswith("2 cells hold what no training row holds")


def test_decimal_commas_are_read_in_pieces_too(tmp_path: Path, small_pieces: None) -> None:
    with_commas = [[size.replace(".", ","), sky, *rest] for size, sky, *rest in ROWS]
    data = data_of(tmp_path, with_separator(with_commas, ";"))
    new = tmp_path / "new.csv"
    new.write_text(with_separator(with_commas, ";"))
    (there,) = [name for name in data.features if name == "size"]
    sizes = inputs_in(pieces_of(data, new))[:, data.features.index(there)].tolist()
    expected = [float(size) if size else None for size, *_ in ROWS]
    assert [None if value != value else value for value in sizes] == expected
    new.write_text(with_separator(ROWS, ","))  # with points
    assert inputs_in(pieces_of(data, new))[0].tolist() == inputs_in(pieces_of(data, new))[0].tolist()
    assert [note for note in data.notes if "has decimal points" in note]


def test_a_number_is_read_whatever_most_cells_around_it_hold(tmp_path: Path, small_pieces: None) -> None:
    data = data_of(tmp_path, ignore=["note", "when", "sky"])
    cells = ["1,5", "wide", "wide", "wide", "wide", "2,5", *["3,5"] * 6, "wide"]
    new = tmp_path / "new.csv"
    for end in ("", "# enough\n"):  # in blocks, and row by row
        new.write_text("\n".join(["size;sky;when", *(f"{cell};grey;2020-01-01" for cell in cells), end]))
        pieces = pieces_of(data, new)
        assert inputs_in(pieces)[:, 0].tolist() == [1.5, 2.5, *[3.5] * 6]
        refused = [piece.names[row] for piece in pieces for row in piece.refused]
        assert refused == ["row 3", "row 4", "row 5", "row 6", "row 14"]


def endless(asked: list[int]) -> Iterator[Table]:
    """Tables of ten rows without end; `asked` has the number of rows that were asked for."""
    for start in count(0, 10):
        asked.append(10)
        yield Table("endless.csv", {"size": Column(np.arange(10.0) + start)}, range(start + 2, start + 12))


def test_a_table_without_an_end_is_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_rows, "_AT_ONCE", 16)
    asked: list[int] = []
    encoding = Encoding(columns=("size",), categories={}, classes=(), scaling=None, fills=False)
    rows = new_rows.new_rows(lambda _: endless(asked), TableOptions("y"), encoding, [])
    for number, piece in enumerate(islice(rows, 5)):
        assert single(piece.inputs)[:, 0].tolist() == list(range(16 * number, 16 * number + 16))
        assert sum(asked) < 16 * (number + 1) + 10


DATES = {
    "unique": [f"2020-01-{n + 1:02}" for n in range(9)],
    "unique, without an order": [f"2020-01-{(7 * n) % 9 + 1:02}" for n in range(9)],
    "with times in the last rows": [f"2020-01-{n + 1:02}" + " 12:30" * (n == 8) for n in range(9)],
    "twice": [f"2020-01-{min(n, 7) + 1:02}" for n in range(9)],
    "twice, far apart": [f"2020-01-{(n + 7) % 8 + 1:02}" for n in range(9)],
    "with one that is none": [f"2020-01-{n + 1:02}" if n != 7 else "soon" for n in range(9)],
}
LINES = [f"row {n + 2}" for n in range(9)]
DATE_NAMES = {
    "unique": DATES["unique"],
    "unique, without an order": DATES["unique, without an order"],
    "with times in the last rows": [
        f"2020-01-{n + 1:02} {'12:30' if n == 8 else '00:00'}:00" for n in range(9)
    ],
}


@pytest.mark.parametrize("case", DATES)
def test_rows_are_named_by_dates_if_those_of_the_whole_file_differ(
    tmp_path: Path, small_pieces: None, case: str
) -> None:
    data = data_of(tmp_path, date=["when"], split="random")
    new = tmp_path / "new.csv"
    new.write_text(with_separator([["1", "grey", day] for day in DATES[case]], ",", "size,sky,when"))
    assert names_of(data, new) == DATE_NAMES.get(case, LINES)


def test_rows_are_named_by_their_id(tmp_path: Path, small_pieces: None) -> None:
    data = data_of(tmp_path, id="note")
    new = tmp_path / "new.csv"
    new.write_text(with_separator(ROWS, ","))
    assert names_of(data, new)[:2] == ["note 0", 'two\nlines, "1"']


def test_cells_as_written_stand_beside_their_rows(tmp_path: Path, small_pieces: None) -> None:
    data = data_of(tmp_path)
    new = tmp_path / "new.csv"
    rows = [[f"{n % 7}.50", "grey", "2020-01-01", f"00{n}", "1"] for n in range(20)]
    for end in ("", "# enough\n"):
        new.write_text(with_separator(rows, ",") + end)
        pieces = pieces_of(data, new)
        written = [dict(piece.columns) for piece in pieces]
        assert [cell for cells in written for cell in cells["note"]] == [f"00{n}" for n in range(20)]
        assert [cell for cells in written for cell in cells["size"]] == [row[0] for row in rows]
        assert dict(pieces[2].columns) == written[2], "asked for again"


# ------------------------------------------------------------------------ mistakes deep in the file

MISTAKES = {
    "a cell too many": ("1,grey,2020-01-01,a,1,2\n", "1 row has too many cells for 5 columns: row 22 has 6"),
    "cells too few": ("1,grey\n", "1 row has too few cells for 5 columns: row 22 has 2"),
    "a stray quote": ('1,"gr"ey,2020-01-01,a,1\n', "between a closing quote and the next comma (row 22)"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("read", ["guess", "strict"])
def test_rows_before_a_mistake_are_given_before_it_is_said(
    tmp_path: Path, small_pieces: None, mistake: str, read: str
) -> None:
    wrong, said = MISTAKES[mistake]
    data = data_of(
        tmp_path, read=read, **({"categorical": ["sky"], "dates": ["when"]} if read == "strict" else {})
    )
    rows = [f"{n % 7},grey,2020-01-01,a,1\n" for n in range(40)]
    new = tmp_path / "new.csv"
    new.write_text(f"{HEADER}\n" + "".join([*rows[:20], wrong, *rows[20:]]))
    assert data.read_new is not None
    pieces, found = data.read_new(new), list[str]()
    with pytest.raises(UserError) as refused:
        for piece in pieces:
            assert isinstance(piece, NewInputs)
            found += piece.names
    assert found == [f"row {n + 2}" for n in range(20)]
    assert refused.value.where == f"{new}:22"
    assert read == "strict" or said in refused.value.what


def small_run(tmp_path: Path) -> Run:
    data_of(tmp_path)
    dataset = {"name": "csv", "path": str(tmp_path / "table.csv"), "target": "y", "ignore": ["note"]}
    return trained(planned(dataset=dataset, loss="mse", metrics=["mae"]), tmp_path)


def test_a_command_prints_the_rows_before_a_mistake_alone(dlrun: Callable[..., Any], tmp_path: Path) -> None:
    run = small_run(tmp_path)
    new = tmp_path / "new.csv"
    new.write_text(f"{HEADER}\n1,grey,2020-01-01,a,1\n2,grey,2020-01-01\n3,grey,2020-01-01,a,1\n")
    done = dlrun("predict", run.folder, new, "--csv")
    assert done.code == 2 and f"where: {new}:3" in done.err
    assert [line.split(",")[0] for line in done.out.splitlines()] == ["input", "row 2"]
    done = dlrun("predict", run.folder, new, "--json")
    assert (done.code, done.out) == (2, ""), "a report of all rows or none"


def test_what_is_printed_of_a_file_in_pieces_is_what_is_printed_of_it_whole(
    dlrun: Callable[..., Any],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = small_run(tmp_path)
    new = tmp_path / "new.csv"
    new.write_text(with_separator(ROWS, ","))
    words = ("predict", run.folder, new, "--columns")
    whole, told = dlrun(*words, "--csv"), json.loads(dlrun(*words, "--json").out)
    request.getfixturevalue("small_pieces")
    monkeypatch.setattr(new_rows, "_AT_ONCE", 2**14)  # the last bits depend on what is multiplied together
    found = dlrun(*words, "--csv")
    assert (found.code, found.out, found.err) == (0, whole.out, whole.err)
    assert len(told["predictions"]) == 50 and found.err.count("cells are missing") == 1
    assert [row["columns"] for row in json.loads(dlrun(*words, "--json").out)["predictions"]] == [
        row["columns"] for row in told["predictions"]
    ]


def test_dates_of_new_rows_may_be_written_otherwise_than_those_of_training(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("day,y\n" + "".join(f"2024-01-{n % 28 + 1:02},{n % 28}\n" for n in range(56)))
    first = csv(tmp_path, path=str(path), target="y")
    data = csv(tmp_path, first.known, path=str(path), target="y", **first.guessed)
    wanted = new_inputs(data, tmp_path, "day\n2024-01-13\n2024-02-14\n")
    assert torch.equal(new_inputs(data, tmp_path, "day\n13.01.2024\n14.02.2024\n"), wanted)
    assert data.notes == ["new.csv has dates in another form than the table of training: day as 31.01.2016"]


def test_rows_of_empty_cells_are_said_to_be_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("x,z,y\n" + "".join(f"{n % 7},{n % 5},{n}\n" for n in range(40)))
    first = csv(tmp_path, path=str(path), target="y")
    data = csv(tmp_path, first.known, path=str(path), target="y", **first.guessed)
    assert new_inputs(data, tmp_path, "x,z\n1,2\n,\n3,4\n").tolist() == [[1, 2], [3, 4]]
    assert data.notes == ["line 3 is without any value: passed over"]
    data.notes.clear()
    assert data.read_labelled is not None
    new = tmp_path / "labelled.csv"
    new.write_text("x,z,y\n1,2,3\n3,4,5\nTotal,,8\n")
    assert len(data.read_labelled(new)) == 2
    assert "line 4 ('Total') sums up the rows: passed over" in data.notes


def new_inputs(data: Data, folder: Path, content: str) -> torch.Tensor:
    path = folder / "new.csv"
    path.write_text(content)
    assert data.read_new is not None
    pieces = [piece for piece in data.read_new(path) if isinstance(piece, NewInputs)]
    return torch.cat([single(piece.inputs) for piece in pieces])
