"""Numbers far outside the training rows are predicted, and said to be so."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import date, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from small_runs import planned, trained

from dlrun.data.table_files import gathered_columns
from dlrun.data.tabular import new_rows
from dlrun.dataset.csv import csv as csv_data
from dlrun.run_folders.run import Run
from dlrun.training.checkpoint import load_checkpoint, save_checkpoint

Dlrun = Callable[..., Any]


def table(folder: Path, incomes: list[float], name: str = "table.csv") -> Path:
    path = folder / name
    rows = [f"{income},{n % 13}.5,{'red' if n % 2 else 'blue'},{n % 5}" for n, income in enumerate(incomes)]
    path.write_text("\n".join(["income,age,colour,y", *rows]) + "\n")
    return path


def run_of(tmp_path: Path) -> Run:
    """A run whose training rows have incomes from 100 to 300: those of the other splits lie between."""
    path = table(tmp_path, [100.0, 300.0, *(100.5 + 2 * n for n in range(90))] * 2)
    dataset = {"name": "csv", "path": str(path), "target": "y", "ignore": []}
    return trained(planned(dataset=dataset, loss="mse", metrics=["mae"]), tmp_path)


def test_the_ranges_are_those_of_the_training_rows(tmp_path: Path) -> None:
    path = table(tmp_path, [float(n) for n in range(100, 200)])
    data = csv_data(tmp_path, path=str(path), target="y", ignore=["age"])
    incomes = data.read()["train"].inputs[:, 0].tolist()
    assert data.features[0] == "income"
    assert data.known["ranges"] == {"income": [min(incomes), max(incomes)]}


def test_rows_beyond_a_margin_are_counted_and_named_once(
    tmp_path: Path, dlrun: Dlrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tmp_path)
    inside = [100.0, 300.0, 499.9, -99.9]  # up to the width of the range beyond an end
    new = table(tmp_path, [*inside, 501, 200, -1e9, 200, 600, 700], "new.csv")
    monkeypatch.setattr(new_rows, "_AT_ONCE", 3)
    monkeypatch.setattr(gathered_columns, "_ROWS", 4)
    done = dlrun("predict", run.folder, new, "--csv")
    assert (done.code, len(done.out.splitlines())) == (0, 11)
    said = "4 rows lie far outside the training rows: income in row 6 (501; training: 100 to 300), "
    said += (
        "income in row 8 (-1e+09; training: 100 to 300), income in row 10 (600; training: 100 to 300), …: "
    )
    assert " ".join(done.err.split()) == f"warning: {said}these predictions are extrapolated"
    assert next(csv.DictReader(StringIO(done.out))).keys() == {"input", "y", "problem"}
    told = json.loads(dlrun("predict", run.folder, new, "--json").out)["predictions"]
    far = {row["input"]: row["far_outside"] for row in told if "far_outside" in row}
    assert list(far) == ["row 6", "row 8", "row 10", "row 11"]
    assert far["row 8"] == {"income": {"value": -1e9, "training": [100.0, 300.0]}}
    shown = dlrun("predict", run.folder, new)
    assert "far_outside" not in shown.out and "4 rows lie far" in " ".join(shown.err.split())


def dated_run(tmp_path: Path) -> tuple[Run, Path]:
    """A run on 100 days from 1 January 2020 on, 9 April the last, and the file of these days."""
    first = date(2020, 1, 1)
    days = [first, first + timedelta(99), *(first + timedelta(n % 98 + 1) for n in range(198))]
    path = tmp_path / "days.csv"
    path.write_text("day,y\n" + "".join(f"{day},{n % 5}\n" for n, day in enumerate(days * 3)))
    dataset = {"name": "csv", "path": str(path), "target": "y"}
    return trained(planned(dataset=dataset, loss="mse", metrics=["mae"]), tmp_path), path


def test_dates_far_from_those_of_training_are_marked_alike(tmp_path: Path, dlrun: Dlrun) -> None:
    run, path = dated_run(tmp_path)
    new = tmp_path / "new.csv"  # 2020-07-17 is 99 days behind the last day of training
    new.write_text("day\n2020-03-05\n2020-07-17\n2020-07-18\n2019-09-23 06:00\n")
    done = dlrun("predict", run.folder, new, "--json")
    of_days = "2020-07-18; training: 2020-01-01 to 2020-04-09"
    with_time = "2019-09-23 06:00:00; training: 2020-01-01 00:00:00 to 2020-04-09 00:00:00"
    said = f"day in row 4 ({of_days}), day in row 5 ({with_time}): these predictions are extrapolated"
    assert f"2 rows lie far outside the training rows: {said}" in " ".join(done.err.split())
    told = {row["input"]: row.get("far_outside") for row in json.loads(done.out)["predictions"]}
    assert (told["row 2"], told["row 3"]) == (None, None)
    assert told["row 4"] == {"day": {"value": "2020-07-18", "training": ["2020-01-01", "2020-04-09"]}}
    other = tmp_path / "other.csv"
    other.write_text("day,y\n2020-03-05,1\n1999-01-01,2\n")
    judged = dlrun("eval", run.folder, "--on", other)
    assert "day in row 3 (1999-01-01; training" in " ".join(judged.err.split())
    known = load_checkpoint(run.best).data["known"]
    for ends in ([0.0, 1e300], [-1e12, 0.0]):
        with pytest.raises(ValueError, match="range is none of dates"):
            csv_data(tmp_path, known | {"ranges": {"day": ends}}, path=str(path), target="y")


def test_other_rows_that_are_judged_are_marked_alike(tmp_path: Path, dlrun: Dlrun) -> None:
    run = run_of(tmp_path)
    other = table(tmp_path, [150, 1e6], "other.csv")
    done = dlrun("eval", run.folder, "--on", other)
    said = "1 row lies far outside the training rows: income in row 3 (1e+06; training: 100 to 300): "
    assert f"{said}this prediction is extrapolated" in " ".join(done.err.split())


def test_a_row_that_is_not_predicted_is_not_extrapolated(tmp_path: Path, dlrun: Dlrun) -> None:
    run = run_of(tmp_path)
    new = table(tmp_path, [150, 1e6], "new.csv")
    new.write_text(new.read_text().replace("1.5,red", "old,red"))
    done = dlrun("predict", run.folder, new, "--csv")
    assert "is no number" in done.out and "far outside" not in done.err


def test_an_older_checkpoint_without_ranges_marks_nothing(tmp_path: Path, dlrun: Dlrun) -> None:
    run = run_of(tmp_path)
    saved = load_checkpoint(run.best)
    del saved.data["known"]["ranges"]
    save_checkpoint(run.best, saved)
    done = dlrun("predict", run.folder, table(tmp_path, [1e9], "new.csv"), "--csv")
    assert (done.code, done.err) == (0, "")
