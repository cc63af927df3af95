"""The option `sheet` of csv: what is guessed is recorded, and a run of a workbook is opened again."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from small_runs import planned, trained

from dlrun.config.keys import Choice
from dlrun.results.table_columns import table_facts
from dlrun.run_folders.run import Run

Dlrun = Callable[..., Any]
ROWS = [["x", "y"], *([n % 7 + 0.5, n] for n in range(40))]


def workbook(path: Path, **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.remove(book.worksheets[0])
    book.save(path)
    return path


def run_of(path: Path, folder: Path, **options: Any) -> Run:
    dataset = {"name": "csv", "path": str(path), "target": "y", **options}
    return trained(planned(dataset=dataset, loss="mse", metrics=[]), folder)


def predicted(dlrun: Dlrun, run: Run, path: Path) -> list[dict[str, Any]]:
    done = dlrun("predict", run.folder, path, "--json")
    assert done.code == 0, done.err
    rows: list[dict[str, Any]] = json.loads(done.out)["predictions"]
    return rows


def test_a_run_of_one_of_several_sheets_evaluates_and_predicts(tmp_path: Path, dlrun: Dlrun) -> None:
    path = workbook(tmp_path / "t.xlsx", Notes=[["hello"]], Data=ROWS, Old=[["z"], [1]])
    run = run_of(path, tmp_path / "guessed")
    assert "sheet: Data" in run.config.read_text()
    assert dlrun("eval", run.folder).code == 0
    rows = predicted(dlrun, run, path)
    assert len(rows) == 40
    named = workbook(tmp_path / "named.xlsx", First=[["x"], [9]], Data=ROWS[:4])
    assert predicted(dlrun, run, named) == rows[:3], "the sheet of the same name"
    alone = workbook(tmp_path / "alone.xlsx", Tabelle1=ROWS[:4])
    assert predicted(dlrun, run, alone) == rows[:3], "a single sheet may be called otherwise"
    others = workbook(tmp_path / "others.xlsx", A=ROWS[:4], B=ROWS[:4])
    refused = dlrun("predict", run.folder, others)
    assert refused.code == 2 and "there is no sheet 'Data' (there are: A, B)" in refused.err


@pytest.mark.parametrize("sheet", ["Data", 2])
def test_a_sheet_is_stated_by_name_or_number(tmp_path: Path, dlrun: Dlrun, sheet: str | int) -> None:
    path = workbook(tmp_path / "t.xlsx", Old=[["x", "y"], *([1, n] for n in range(40))], Data=ROWS)
    run = run_of(path, tmp_path, sheet=sheet)
    assert predicted(dlrun, run, path)[0].keys() == {"input", "y"}
    options = {"path": str(path), "target": "y", "task": "regression", "sheet": sheet}
    facts = table_facts(Choice("csv", options), tmp_path)
    assert facts is not None and [(each.name, each.low) for each in facts.columns] == [
        ("x", "0.5"),
        ("y", "0"),
    ]


def test_a_sheet_that_is_called_otherwise_since_training_may_be_named(tmp_path: Path, dlrun: Dlrun) -> None:
    path = workbook(tmp_path / "t.xlsx", Notes=[["hello"]], Data=ROWS)
    run = run_of(path, tmp_path / "runs")
    workbook(path, Notes=[["hello"]], Renamed=ROWS)
    refused = dlrun("eval", run.folder)
    assert refused.code == 2 and "set sheet to one of these names" in refused.err
    assert dlrun("eval", run.folder, "dataset.sheet=Renamed").code == 0


def test_a_file_of_an_archive_is_stated_by_name(tmp_path: Path, dlrun: Dlrun) -> None:
    text = "\n".join(",".join(map(str, row)) for row in ROWS)
    path, new = tmp_path / "t.zip", tmp_path / "new.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("old.csv", "z\n1\n")
        archive.writestr("rows.csv", text)
    run = run_of(path, tmp_path, sheet="rows.csv")
    with zipfile.ZipFile(new, "w") as archive:
        archive.writestr("other.csv", text)
    assert predicted(dlrun, run, new) == predicted(dlrun, run, path)
